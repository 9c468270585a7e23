import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqkit.bitstream import inspect
from vqkit.cli import main
from vqkit.coding.audio.decode import decode_file
from vqkit.coding.audio.encode import encode_file


def vqkit(*words, **options):
    return subprocess.run([sys.executable, "-m", "vqkit.cli", *map(str, words)], capture_output=True, **options)


@pytest.fixture
def run(model, capsys):
    def call(*words, code=0):
        assert main([*map(str, words), "--model", str(model)]) == code
        shown = capsys.readouterr()
        return shown.out, shown.err

    return call


def test_one_file_and_back(run, sound, tmp_path):
    source = sound(tmp_path / "a.wav", 2.0)
    out, err = run("encode", source)
    size = (tmp_path / "a.vqk").stat().st_size
    assert out == f"{source} → {tmp_path / 'a.vqk'}: 2.000 s, {size} bytes, {size * 8 / 2000:.3f} kbit/s, 4 stages\n"
    assert err == ""
    run("decode", tmp_path / "a.vqk", tmp_path / "deep/b.flac")
    assert soundfile.info(tmp_path / "deep/b.flac").frames == 16000
    assert run("decode", tmp_path / "a.vqk", "--to", "ogg", "--quiet") == ("", "")
    assert soundfile.info(tmp_path / "a.ogg").subtype == "VORBIS"
    _, err = run("decode", tmp_path / "a.vqk", code=2)
    assert err == f"vqkit: {source} exists; -f overwrites it\n"
    run("decode", tmp_path / "a.vqk", "-f")


@pytest.mark.parametrize(
    ("how", "stages"), [(["--kbps", "5"], 2), (["--stages", "3"], 3), (["--max-bytes", "1500"], 2), ([], 4)]
)
def test_rates(run, sound, tmp_path, how, stages):
    source = sound(tmp_path / "a.wav", 2.0)
    out, _ = run("encode", source, tmp_path / "a.vqk", *how, "--json", "--licence", "MIT", "--meta", "by=A=B")
    assert json.loads(out) == {
        "source": str(source),
        "target": str(tmp_path / "a.vqk"),
        "seconds": 2.0,
        "bytes": (size := (tmp_path / "a.vqk").stat().st_size),
        "kbps": size * 8 / 2000,
        "stages": stages,
        "notes": [],
        "warnings": [],
    }
    found = inspect(tmp_path / "a.vqk")
    assert (found["licence"], found["metadata"], found["stages"]) == ("MIT", {"by": "A=B"}, [stages] * 2)


def test_folders_and_processes(run, sound, tmp_path):
    sound(tmp_path / "in/a.wav", 3.0, 44100, 2)
    sound(tmp_path / "in/b/c.flac", 2.0, seed=1)
    sound(tmp_path / "in/b/d.mp3", 2.0, 16000, seed=2)
    (tmp_path / "in/b/bad.wav").write_text("no sound")
    out, err = run("encode", tmp_path / "in", tmp_path / "one", code=1)
    assert [line.partition(" → ")[0] for line in out.splitlines()[:-1]] == [
        str(tmp_path / "in" / name) for name in ("a.wav", "b/c.flac", "b/d.mp3")
    ]
    coded = sum(path.stat().st_size for path in (tmp_path / "one").rglob("*.vqk"))
    whole = sum((tmp_path / "in" / name).stat().st_size for name in ("a.wav", "b/c.flac", "b/d.mp3"))
    total = f"total: 3 files, 7.000 s, {coded} bytes for {whole}, ratio {whole / coded:.1f}; 1 failed"
    assert out.splitlines()[-1] == total
    assert out.splitlines()[0].endswith("; 2 channels mixed to one: the codec is mono")
    assert out.count("mixed") == 1
    bad = f"{tmp_path / 'in/b/bad.wav'} is not audio that soundfile or PyAV can read"
    assert err == f"vqkit: {bad}\nvqkit: 1 of 4 files failed\n"
    out, err = run("encode", tmp_path / "in", tmp_path / "two", "--jobs", "2", "--json", code=1)
    *lines, last = [json.loads(line) for line in out.splitlines()]
    assert last["total"] == {
        "files": 3, "seconds": 7.0, "bytes": coded, "uncoded_bytes": whole, "skipped": 0, "failed": 1, "damaged": 0,
        "passed_over": 0, "ratio": whole / coded,
    }  # fmt: skip
    assert (last["source"], last["notes"], last["warnings"]) == ("", [], [])  # what programs read of every line
    assert [line.get("error") for line in lines] == [None, bad, None, None]
    names = ["a.vqk", "b/c.vqk", "b/d.vqk"]
    assert sorted(p.relative_to(tmp_path / "two").as_posix() for p in (tmp_path / "two").rglob("*.*")) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    (tmp_path / "one/a.vqk").unlink()
    out, err = run("encode", tmp_path / "in", tmp_path / "one", code=1)
    assert len(out.splitlines()) == 2
    assert f"{tmp_path / 'one/b/c.vqk'} exists; -f overwrites it" in err
    assert err.endswith("vqkit: 3 of 4 files failed; 2 of them exist already, and --skip-existing leaves these out\n")
    run("decode", tmp_path / "two", tmp_path / "back", "--to", "flac")
    assert [soundfile.info(tmp_path / "back" / name).frames for name in ("a.flac", "b/c.flac")] == [24000, 16000]


def test_a_run_goes_on_where_it_was_interrupted(run, sound, tmp_path):
    sound(tmp_path / "in/a.wav", 0.5)
    sound(tmp_path / "in/b.wav", 0.5, seed=1)
    run("encode", tmp_path / "in", tmp_path / "out", "--quiet")
    before = (tmp_path / "out/a.vqk").stat()
    (tmp_path / "out/b.vqk").unlink()
    out, err = run("encode", tmp_path / "in", tmp_path / "out", "--skip-existing")
    first, last = out.splitlines()
    assert first.startswith(f"{tmp_path / 'in/b.wav'} → ")
    assert last.startswith("total: 1 file, 0.500 s, ")
    assert last.endswith("; 1 skipped")
    assert err == ""
    assert (tmp_path / "out/a.vqk").stat() == before
    out, err = run("encode", tmp_path / "in", tmp_path / "out", "--skip-existing", "--json")
    *files, total = map(json.loads, out.splitlines())
    assert files == [
        {
            "source": str(tmp_path / "in" / f"{name}.wav"),
            "target": str(tmp_path / "out" / f"{name}.vqk"),
            "skipped": True,
        }
        for name in "ab"
    ]
    assert (total["total"]["files"], total["total"]["skipped"], total["total"]["ratio"]) == (0, 2, None)
    out, _ = run("decode", tmp_path / "out", tmp_path / "back", "--skip-existing")
    assert out.splitlines()[-1].startswith("total: 2 files, 1.000 s, ")
    assert run("decode", tmp_path / "out", tmp_path / "back", "--skip-existing")[0] == "total: 0 files; 2 skipped\n"
    out, err = run("encode", tmp_path / "in/a.wav", tmp_path / "out/a.vqk", "--skip-existing")
    assert (out, err) == (f"{tmp_path / 'out/a.vqk'} exists: skipped\n", "")


def test_a_target_that_appears_meanwhile_stays(run, sound, tmp_path, monkeypatch):
    """Two runs at once on one folder: nobody overwrites what the other has made."""
    sound(tmp_path / "in/a.wav", 0.5)
    target = tmp_path / "out/a.vqk"

    def encode(*args, **options):
        target.write_text("other")
        return encode_file(*args, **options)

    monkeypatch.setattr("vqkit.coding.audio.kind.encode_file", encode)
    _, err = run("encode", tmp_path / "in", tmp_path / "out", code=1)
    assert f"{target} exists; -f overwrites it" in err
    target.unlink()
    out, err = run("encode", tmp_path / "in", tmp_path / "out", "--skip-existing")
    assert (out, err) == ("total: 0 files; 1 skipped\n", "")
    assert target.read_text() == "other"
    target.unlink()
    run("encode", tmp_path / "in", tmp_path / "out", "-f")
    assert target.read_bytes() != b"other"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.vqk"]

    def decode(*args, **options):
        (tmp_path / "back/a.wav").write_text("other")
        return decode_file(*args, **options)

    monkeypatch.setattr("vqkit.coding.audio.kind.decode_file", decode)
    _, err = run("decode", tmp_path / "out", tmp_path / "back", code=1)
    assert f"{tmp_path / 'back/a.wav'} exists; -f overwrites it" in err
    assert (tmp_path / "back/a.wav").read_text() == "other"


def test_what_is_no_file_is_named_and_the_rest_goes_on(run, sound, tmp_path):
    sound(tmp_path / "in/a.wav", 0.5)
    (tmp_path / "in/sub").mkdir()
    os.mkfifo(tmp_path / "in/sub/pipe.wav")
    (tmp_path / "in/gone.wav").symlink_to("nowhere")
    (tmp_path / "in/sub/up").symlink_to("..")
    out, err = run("encode", tmp_path / "in", tmp_path / "out", code=1)
    assert out.splitlines()[-1].endswith("; 2 failed; 1 passed over")
    assert err.splitlines() == [
        f"vqkit: {tmp_path / 'in/gone.wav'} is a link to nowhere, which does not exist",
        f"vqkit: {tmp_path / 'in/sub/pipe.wav'} is a named pipe, not a file",
        f"vqkit: {tmp_path / 'in/sub/up'} is passed over: it is a link to a folder, which is not followed",
        "vqkit: 2 of 3 files failed",
    ]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.vqk"]
    out, _ = run("encode", tmp_path / "in", tmp_path / "out", "--json", "-f", code=1)
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[2] == {
        "source": str(tmp_path / "in/sub/up"),
        "passed_over": "a link to a folder, which is not followed",
    }
    for name in ("gone.wav", "sub/pipe.wav"):
        (tmp_path / "in" / name).unlink()
    run("encode", tmp_path / "in", tmp_path / "out", "--skip-existing")


@pytest.mark.parametrize("words", [[], ["-f"], ["--skip-existing"]])
def test_targets_that_would_destroy_something_are_refused(run, sound, tmp_path, words):
    """Sources by any name, links to nothing, and devices."""
    source = sound(tmp_path / "voice", 0.5, format="WAV")
    before = source.read_bytes()
    (tmp_path / "soft").symlink_to("voice")
    os.link(source, tmp_path / "hard")
    (tmp_path / "link.vqk").symlink_to(tmp_path / "elsewhere")
    _, err = run("encode", source, source, *words, code=2)
    assert err == f"vqkit: {source} is the source itself, which would be lost\n"
    for name in ("soft", "hard"):
        _, err = run("encode", source, tmp_path / name, *words, code=2)
        assert err == f"vqkit: {tmp_path / name} is the same file as the source {source}, which would be lost\n"
    _, err = run("encode", source, tmp_path / "link.vqk", *words, code=2)
    assert err == f"vqkit: {tmp_path / 'link.vqk'} is a link to {tmp_path / 'elsewhere'}, which does not exist\n"
    sound(tmp_path / "in/a.wav", 0.5)
    sound(tmp_path / "in/b.wav", 0.5)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.vqk").symlink_to(tmp_path / "in/b.wav")  # another source of the run
    os.mkfifo(tmp_path / "out/b.vqk")
    _, err = run("encode", tmp_path / "in", tmp_path / "out", *words, code=1)
    assert (
        f"{tmp_path / 'out/a.vqk'} is the same file as the source {tmp_path / 'in/b.wav'}, which would be lost" in err
    )
    assert f"cannot write {tmp_path / 'out/b.vqk'}: it is a named pipe, not a file" in err
    assert source.read_bytes() == before
    assert not (tmp_path / "elsewhere").exists()


def test_long_names(run, sound, tmp_path):
    """255 bytes are the most that a file's name may have; one that is too long fails alone."""
    name = "n" * 251
    sound(tmp_path / f"in/{name}.wav", 0.5)
    run("encode", tmp_path / "in", tmp_path / "out")
    run("decode", tmp_path / "out", tmp_path / "back")
    assert [path.name for path in (tmp_path / "back").iterdir()] == [f"{name}.wav"]
    sound(tmp_path / "in/a.wav", 0.5)
    _, err = run("encode", tmp_path / "in", tmp_path / "m" / ("m" * 256), code=1)
    assert err.count("File name too long") == 2
    _, err = run("decode", tmp_path / "out", tmp_path / "three", "--to", "flac", code=1)
    assert "File name too long" in err
    assert err.endswith("vqkit: 1 of 1 files failed\n")


def test_names_that_the_terminal_cannot_show_do_not_end_the_job(run, sound, tmp_path, monkeypatch):
    evil = "a\x1b[2J\n\udce9"  # controls, and a byte that is no character
    sound(tmp_path / "in/b.wav", 0.5).rename(tmp_path / "in" / f"{evil}.wav")
    (tmp_path / "in/bad\x1b.wav").write_text("no sound")
    sound(tmp_path / "in/c.wav", 0.5)
    out = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")  # without the arrow
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        _, err = run("encode", tmp_path / "in", tmp_path / "out", code=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{evil}.vqk", "c.vqk"]
    lines = out.buffer.getvalue().decode("cp1252").splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(rf"{tmp_path}/in/a\x1b[2J\n\xe9.wav \u2192 {tmp_path}/out/a\x1b[2J\n\xe9.vqk: 0.500 s, ")
    assert rf"{tmp_path}/in/bad\x1b.wav is not audio" in err
    assert "\x1b" not in err
    shown, _ = run("decode", tmp_path / "out", tmp_path / "back", "--json")
    assert json.loads(shown.splitlines()[0])["target"] == str(tmp_path / "back" / f"{evil}.wav")


def test_a_full_disk_leaves_nothing(run, sound, tmp_path):
    source = sound(tmp_path / "a.wav", 2.0)
    run("encode", source, tmp_path / "a.vqk")  # memory that processes share is a file as well: now it is there
    (tmp_path / "a.vqk").unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # the system refuses what a file has beyond
    try:
        _, err = run("encode", source, tmp_path / "a.vqk", code=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert err == f"vqkit: {source}: [Errno 27] File too large\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_closed_streams(run, sound, tmp_path, monkeypatch):
    source = sound(tmp_path / "a.wav", 0.5)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdin", None)
        assert run("encode", "-", tmp_path / "b.vqk", code=2)[1] == "vqkit: standard input is closed: name a file\n"
        error = run("decode", "-", tmp_path / "b.wav", code=2)[1]
        assert error == "vqkit: standard input: standard input is closed: name a file\n"
        patched.setattr(sys, "stdout", None)
        assert "standard output is closed: redirect" in run("encode", source, "-", code=2)[1]
        run("encode", source, tmp_path / "a.vqk")  # what it would print goes nowhere
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.vqk", "a.wav"]


@pytest.mark.parametrize("target", ["-", "a.vqk"])
def test_who_reads_no_further_ends_it_quietly(run, sound, tmp_path, monkeypatch, target):
    source = sound(tmp_path / "a.wav", 0.5)
    monkeypatch.chdir(tmp_path)
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", closed)
        assert run("encode", source, target, code=141) == ("", "")


def test_without_the_right_model(run, codec_of, sound, tmp_path, capsys):
    codec_of(num_filters=8).save_pretrained(tmp_path / "other")
    run("encode", sound(tmp_path / "a.wav"), tmp_path / "a.vqk")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.vqk").write_bytes((tmp_path / "a.vqk").read_bytes())
    (tmp_path / "in/junk.vqk").write_text("junk")
    for words, code in ((["a.vqk", "b.wav"], 2), (["in", "out"], 1)):
        places = [str(tmp_path / word) for word in words]
        assert main(["decode", *places, "--model", str(tmp_path / "other")]) == code
        line = capsys.readouterr().err.splitlines()[code % 2]
        assert line.startswith(
            f"vqkit: {places[0]}{'/a.vqk' * (code == 1)}: written by model 'AudioCodec' with weights "
        )
        assert line.endswith(": give --model FOLDER, that of the model that wrote it")


def test_damage_is_a_warning_and_exit_code_1(run, sound, tmp_path):
    run("encode", sound(tmp_path / "a.wav", 3.0), tmp_path / "a.vqk")
    data = bytearray((tmp_path / "a.vqk").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.vqk").write_bytes(data)
    out, err = run("decode", tmp_path / "a.vqk", tmp_path / "b.wav", code=1)
    assert "3.000 s" in out
    assert err.startswith(f"vqkit: warning: {tmp_path / 'a.vqk'}: a chunk is altered at byte")
    assert "frames 400 to 799 are lost; silence stands for them" in err
    back = soundfile.read(tmp_path / "b.wav")[0]
    assert len(back) == 24000
    assert not back[8000:16000].any()
    assert back[:8000].any()
    assert back[16000:].any()


def test_sound_beyond_full_scale_is_said_to_be_so(run, tmp_path):
    loud = 3 * np.sin(np.arange(8000) / 4)
    soundfile.write(tmp_path / "a.wav", loud, 8000, subtype="FLOAT")
    assert "; reaches 3 × full scale, where decoded files are cut off" in run("encode", tmp_path / "a.wav")[0]
    soundfile.write(tmp_path / "b.wav", loud / 3, 8000, subtype="FLOAT")
    assert "full scale" not in run("encode", tmp_path / "b.wav")[0]


def test_numbers_that_overflow_are_refused_as_others_that_are_too_large(run, tmp_path):
    soundfile.write(tmp_path / "a.wav", 1e20 * np.sin(np.arange(8000) / 4), 8000, subtype="FLOAT")
    for words in ([], ["--level-rounds", "1"], ["--refine-steps", "1"]):
        _, err = run("encode", tmp_path / "a.wav", *words, code=2)
        assert "a.wav: wav reaches 1e+20, a codec takes samples of about −1 … 1" in err
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_json_has_the_error_of_a_single_file_too(run, tmp_path):
    (tmp_path / "a.wav").write_text("no sound")
    out, err = run("encode", tmp_path / "a.wav", "--json", code=2)
    found = json.loads(out)
    assert found["source"] == str(tmp_path / "a.wav")
    assert "is not audio" in found["error"]
    assert "is not audio" in err


def test_a_pipe_by_its_path_is_explained(run, tmp_path):
    os.mkfifo(tmp_path / "a.vqk")
    _, err = run("decode", tmp_path / "a.vqk", tmp_path / "a.wav", code=2)
    assert "a.vqk is a pipe, which can be read once: give - and the pipe as standard input" in err


def test_pipes(model, sound, tmp_path):
    data = sound(tmp_path / "a.flac", 2.0, 16000, 2).read_bytes()
    coded = vqkit("encode", "-", "-", "--model", model, "--stages", "2", input=data)
    assert coded.returncode == 0
    assert coded.stderr.decode().startswith("- → -: 2.000 s, ")
    assert coded.stderr.decode().endswith(" 2 stages; 2 channels mixed to one: the codec is mono\n")
    back = vqkit("decode", "-", "-", "--to", "wav", "--model", model, "--quiet", input=coded.stdout)
    assert (back.returncode, back.stderr) == (0, b"")
    (tmp_path / "b.vqk").write_bytes(coded.stdout)
    (tmp_path / "b.wav").write_bytes(back.stdout)
    assert main(["decode", str(tmp_path / "b.vqk"), str(tmp_path / "c.wav"), "--model", str(model)]) == 0
    one, other = (soundfile.read(tmp_path / name, dtype="int16")[0] for name in ("b.wav", "c.wav"))
    assert np.array_equal(one, other)
    assert len(one) == 16000


@pytest.mark.parametrize(
    ("number", "code", "message"),
    [
        (signal.SIGTERM, 143, "terminated; what was finished is kept\n"),
        (signal.SIGKILL, -9, ""),
    ],
)
def test_an_end_leaves_nothing_half_written_and_no_process(model, tmp_path, number, code, message):
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / "in" / name, np.zeros(8000 * 3600), 8000)
    words = ["encode", tmp_path / "in", tmp_path / "out", "--model", model, "--jobs", 2]
    process = subprocess.Popen(
        [sys.executable, "-m", "vqkit.cli", *map(str, words)],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in a shell's background ignores it
    )
    begin = time.monotonic()
    while len(list((tmp_path / "out").glob(".*"))) < 2:  # the files that are being written
        assert process.poll() is None
        assert time.monotonic() - begin < 300
        time.sleep(0.05)
    pids = [int(path.name.split("-")[1], 16) for path in (tmp_path / "out").iterdir()]
    assert process.pid not in pids
    process.send_signal(number)
    _, shown = process.communicate(timeout=120)
    assert process.returncode == code
    assert shown.decode() == message
    while any(map(lives, pids)):  # they end by themselves, where their parent could not tell them
        assert time.monotonic() - begin < 300
        time.sleep(0.05)
    assert not list((tmp_path / "out").iterdir())


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "x.vqk"], "x.vqk is encoded already; `vqkit decode x.vqk` decodes it"),
        (["encode", "a.wav", "b.flac"], "b.flac: encoding makes .vqk files; `vqkit decode` makes sound of them"),
        (["decode", "a.wav"], "a.wav is no .vqk file; `vqkit encode a.wav` makes one of it"),
        (
            ["decode", "x.vqk", "y.vqk"],
            "y.vqk: decoding makes sound, images or video; `vqkit encode` makes .vqk files of them",
        ),
        (["decode", "x.vqk", "y.flac", "--to", "wav"], "--to wav and the suffix of y.flac disagree"),
        (["decode", "-"], "standard output has no suffix: give --to, one of wav, flac, ogg, opus, mp3"),
        (["decode", "x.vqk", "y.xyz"], "cannot write y.xyz: the suffix is '.xyz', allowed are .wav, .flac"),
        (["decode", "x.vqk", "y.wav"], "x.vqk: not a vqk file: it begins with b'no s'"),
        (["encode", "nowhere.wav"], "no such file or folder: nowhere.wav"),
        (["encode", "a.wav", "--stages", "9"], "stages is 9, this codec has 1 to 4"),
        (["encode", "a.wav", "--kbps", "1"], "kbps=1 is below the first stage; this codec has the rates 2.4, 4.8"),
        (["encode", "a.wav", "--max-bytes", "50"], "a.wav: max_bytes is 50, and the smallest possible file"),
        (["encode", "a.wav", "--meta", "title"], "--meta title: expected KEY=VALUE, each KEY once"),
        (["encode", "a.wav", "--jobs", "0"], "--jobs is 0, it must be at least 1"),
        (
            ["encode", "a.wav", "--model", "nowhere"],
            "no such folder: nowhere; a model is a folder that save_pretrained",
        ),
    ],
)
def test_usage(model, sound, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    sound(tmp_path / "a.wav")
    (tmp_path / "x.vqk").write_text("no such thing")
    assert main([*words[:1], "--model", str(model), *words[1:]]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "x.vqk"}


def test_binary_does_not_go_to_a_terminal(run, sound, tmp_path, monkeypatch):
    source = sound(tmp_path / "a.wav")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "redirect standard output" in run("encode", source, "-", code=2)[1]


def test_rates_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["encode", "a.wav", "--kbps", "3", "--stages", "2"])
    assert stop.value.code == 2
    assert "not allowed with" in capsys.readouterr().err

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from vqkit.bitstream import inspect
from vqkit.cli import main


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
    assert [line.partition(" → ")[0] for line in out.splitlines()] == [
        str(tmp_path / "in" / name) for name in ("a.wav", "b/c.flac", "b/d.mp3")
    ]
    assert out.splitlines()[0].endswith("; 2 channels mixed to one: the codec is mono")
    assert out.count("mixed") == 1
    bad = f"{tmp_path / 'in/b/bad.wav'} is not audio that soundfile or PyAV can read"
    assert err == f"vqkit: {bad}\nvqkit: 1 of 4 files failed\n"
    out, err = run("encode", tmp_path / "in", tmp_path / "two", "--jobs", "2", "--json", code=1)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line.get("error") for line in lines] == [None, bad, None, None]
    names = ["a.vqk", "b/c.vqk", "b/d.vqk"]
    assert sorted(p.relative_to(tmp_path / "two").as_posix() for p in (tmp_path / "two").rglob("*.*")) == names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    (tmp_path / "one/a.vqk").unlink()
    out, err = run("encode", tmp_path / "in", tmp_path / "one", code=1)
    assert len(out.splitlines()) == 1
    assert f"{tmp_path / 'one/b/c.vqk'} exists; -f overwrites it" in err
    assert "vqkit: 3 of 4 files failed" in err
    run("decode", tmp_path / "two", tmp_path / "back", "--to", "flac")
    assert [soundfile.info(tmp_path / "back" / name).frames for name in ("a.flac", "b/c.flac")] == [24000, 16000]


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


def test_an_interrupt_leaves_nothing_half_written(model, tmp_path):
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
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=120)
    assert process.returncode == 130
    assert shown.decode() == "interrupted; what was finished is kept\n"
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "x.vqk"], "x.vqk is encoded already; `vqkit decode x.vqk` makes sound or an image of it"),
        (["encode", "a.wav", "b.flac"], "b.flac: encoding makes .vqk files; `vqkit decode` makes sound of them"),
        (["decode", "a.wav"], "a.wav is no .vqk file; `vqkit encode a.wav` makes one of it"),
        (
            ["decode", "x.vqk", "y.vqk"],
            "y.vqk: decoding makes sound or images; `vqkit encode` makes .vqk files of them",
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

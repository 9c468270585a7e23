import json

import pytest
import torch

from vqkit.bitstream import VqkHeader, VqkReader, VqkWriter, inspect
from vqkit.cli import main


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    header = VqkHeader(code_sizes=(1024,) * 4, sample_rate=24000, hop_samples=320, channels=1, metadata={"title": "A"})
    with VqkWriter(tmp_path / "a.vqk", header) as writer:
        writer.write(torch.randint(0, 1024, (300, 4)))
        writer.close(length=96000)
    return tmp_path / "a.vqk"


def test_inspect_tells_people_and_programs(file, capsys):
    assert main(["inspect", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "300 frames in 4 chunks" in shown
    assert "4.000 s at 75 frames/s" in shown
    assert "title: A" in shown
    assert main(["inspect", "--json", str(file), str(file)]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["frames"] for one in found] == [300, 300]
    assert found[0]["file_bytes"] == file.stat().st_size


def test_inspect_says_what_is_damaged(file, capsys):
    data = bytearray(file.read_bytes())
    data[500] ^= 1
    file.write_bytes(data)
    assert main(["inspect", str(file)]) == 1
    assert "damaged: a chunk is altered at byte" in capsys.readouterr().out
    file.write_bytes(data[:-5])
    assert main(["inspect", str(file)]) == 1
    assert "unfinished: the end record is missing" in capsys.readouterr().out


@pytest.fixture
def image(tmp_path):
    header = VqkHeader(code_sizes=(1024,) * 4, grid=(30, 40), image_size=(118, 160))
    with VqkWriter(tmp_path / "i.vqk", header) as writer:
        writer.write(torch.randint(0, 1024, (1200, 4)))
    return tmp_path / "i.vqk"


def test_an_image_is_described(image, capsys):
    assert main(["inspect", str(image)]) == 0
    shown = capsys.readouterr().out
    size = image.stat().st_size
    assert f"image: 160×118 pixels in 40×30 cells, {size * 8 / 160 / 118:.4f} bits a pixel in all" in shown
    assert f"4 stages: {size} bytes, {size * 8 / 160 / 118:.4f} bits a pixel\n" in shown
    assert main(["inspect", "--json", str(image)]) == 0
    assert json.loads(capsys.readouterr().out)["thinned_bpp"][-1] == size * 8 / 160 / 118


@pytest.mark.parametrize(
    ("how", "stages"),
    [
        (["--bpp", "1.4"], 2),
        (["--max-bytes", "3100"], 2),
        (["--bpp", "inf"], 4),
        (["--bpp", "1.27"], 1),
        (["--stages", "3"], 3),
    ],
)
def test_thin_an_image(image, capsys, how, stages):
    """10 bits a stage, 1200 cells, 18880 pixels: 1500 bytes or 0.6356 bits a pixel a stage, and headers."""
    assert main(["thin", str(image), str(image.with_name("thin.vqk")), *how]) == 0
    assert f"thin.vqk: {stages} stages" in capsys.readouterr().out
    assert main(["inspect", str(image.with_name("thin.vqk"))]) == 0
    assert capsys.readouterr().out.count(" stages: ") == stages  # those that are left
    codes = VqkReader(image.with_name("thin.vqk")).read()
    assert ((codes >= 0).sum(dim=1) == stages).all()


def test_thin_says_what_a_file_lacks_as_inspect_does(file, tmp_path, capsys):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    for name, content, said in (
        ("altered", data, "a chunk is altered"),
        ("cut", data[:400], "the end record is missing"),
    ):
        (tmp_path / f"{name}.vqk").write_bytes(content)
        assert main(["thin", str(tmp_path / f"{name}.vqk"), str(tmp_path / f"{name}-1.vqk"), "--stages", "1"]) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"vqkit: warning: {tmp_path / name}.vqk: ")
        assert said in err
    (tmp_path / "short.vqk").write_bytes(data[:10])
    assert main(["thin", str(tmp_path / "short.vqk"), str(tmp_path / "x.vqk"), "--stages", "1"]) == 2
    assert str(tmp_path / "short.vqk") in capsys.readouterr().err
    assert not (tmp_path / "x.vqk").exists()


def test_rates_of_the_other_kind(file, image, capsys):
    assert main(["thin", str(image), str(image.with_name("x.vqk")), "--kbps", "3"]) == 2
    assert f"{image} has no time, so no --kbps: give --stages or --max-bytes" in capsys.readouterr().err
    assert main(["thin", str(file), str(image.with_name("x.vqk")), "--bpp", "3"]) == 2
    assert f"{file} has no pixels, so no --bpp: give --stages or --max-bytes" in capsys.readouterr().err


@pytest.mark.parametrize(("how", "stages"), [(["--kbps", "1.6"], 2), (["--stages", "3"], 3)])
def test_thin_keeps_the_first_stages(file, capsys, how, stages):
    target = file.with_name("thin.vqk")
    assert main(["thin", str(file), str(target), *how]) == 0
    assert f"{stages} stages, {target.stat().st_size} bytes of {file.stat().st_size}" in capsys.readouterr().out
    kept, codes = VqkReader(target).read(), VqkReader(file).read()
    assert torch.equal(kept[:, :stages], codes[:, :stages])
    assert (kept[:, stages:] == -1).all()
    assert main(["thin", str(file), str(target), *how]) == 2
    assert "thin.vqk exists; -f overwrites it" in capsys.readouterr().err
    assert main(["thin", str(file), str(target), *how, "-f"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inspect", "nowhere.vqk"], "no such file: nowhere.vqk"),
        (["thin", "{file}", "out.vqk", "--kbps", "0.1"], "--kbps=0.1 is below the first stage"),
        (
            ["thin", "{file}", "out.vqk", "--max-bytes", "9"],
            "max_bytes is 9, and the smallest possible file, of one stage",
        ),
        (["thin", "{file}", "out.vqk", "--stages", "5"], "stages is 5, the file has 1 to 4"),
    ],
)
def test_mistakes_are_one_line(file, capsys, words, message, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert main([word.format(file=file) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (file.parent / "out.vqk").exists()


def test_a_file_that_is_none_is_named(tmp_path, capsys):
    (tmp_path / "song.vqk").write_bytes(b"RIFF" * 20)
    assert main(["inspect", str(tmp_path / "song.vqk")]) == 2
    assert "not a vqk file" in capsys.readouterr().err


def test_a_bad_file_is_named_and_the_next_described(file, capsys):
    (file.parent / "bad.vqk").write_text("junk")
    (file.parent / "cut.vqk").write_bytes(file.read_bytes()[:30])
    names = [str(file.parent / name) for name in ("bad.vqk", "nowhere.vqk", "cut.vqk", "a.vqk")]
    assert main(["inspect", *names, str(file.parent)]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{file}: version 1, ")
    assert shown.err.splitlines() == [
        f"vqkit: {names[0]}: not a vqk file: it begins with b'junk'",
        f"vqkit: no such file: {names[1]}",
        f"vqkit: {names[2]}: truncated: it ends within its header, after 30 bytes",
        f"vqkit: {file.parent} is a folder",
    ]
    assert main(["inspect", "--json", *names[:2], names[3]]) == 1
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"file": names[0], "error": "not a vqk file: it begins with b'junk'"}
    assert second == {"file": names[1], "error": f"no such file: {names[1]}"}
    assert (third["file"], third["frames"]) == (names[3], 300)
    assert main(["inspect", "--json", names[0]]) == 2
    assert capsys.readouterr().err == f"vqkit: {names[0]}: not a vqk file: it begins with b'junk'\n"


def test_a_file_cut_in_its_first_chunk_is_described(file, image, capsys):
    data = file.read_bytes()
    file.write_bytes(data[:200])
    image.write_bytes(image.read_bytes()[:100])
    assert main(["inspect", str(file), str(image)]) == 1
    shown = capsys.readouterr()
    assert "200 bytes, 0 frames in 0 chunks" in shown.out
    assert "  0.000 s at 75 frames/s\n" in shown.out
    assert "stages: " not in shown.out  # none is whole
    assert "title: A" in shown.out
    assert "unfinished: the end record is missing, and " in shown.out
    assert f"{image}: version 1, 100 bytes, 0 frames in 0 chunks" in shown.out
    assert shown.err == ""


def test_bytes_behind_the_end_are_damage(file, capsys):
    with file.open("ab") as end:
        end.write(b"more")
    assert main(["inspect", str(file)]) == 1
    assert "damaged: 4 bytes follow the end that do not belong to the file" in capsys.readouterr().out


def test_what_a_file_says_cannot_steer_the_terminal(tmp_path, capsys):
    evil = "\x1b]0;owned\x07\n\u202e"
    header = VqkHeader((8,), model=evil, licence=evil, metadata={evil: evil})
    path = tmp_path / "a\x1b[2J\n.vqk"
    with VqkWriter(path, header) as writer:
        writer.write(torch.zeros(3, 1, dtype=torch.int64))
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    harmless = r"\x1b]0;owned\x07\n\u202e"
    assert r"a\x1b[2J\n.vqk: version 1" in shown
    assert f"  model: {harmless}, weights" in shown
    assert f"  licence: {harmless}\n" in shown
    assert f"  {harmless}: {harmless}\n" in shown
    assert not set(shown) & set("\x1b\x07\u202e")
    assert main(["thin", str(path), str(tmp_path / "b\x1b.vqk"), "--stages", "1"]) == 0
    assert r"b\x1b.vqk: 1 stages" in capsys.readouterr().out
    assert main(["inspect", "--json", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["metadata"] == {evil: evil}


def test_thin_refuses_what_it_must_not_replace(file, capsys, monkeypatch):
    target = file.with_name("thin.vqk")
    target.symlink_to("nowhere")
    assert main(["thin", str(file), str(target), "--stages", "1"]) == 2
    assert "thin.vqk: it is a link to " in capsys.readouterr().err
    target.unlink()
    inspected = inspect

    def inspect_late(source):
        target.write_text("other")  # that of another process
        return inspected(source)

    monkeypatch.setattr("vqkit.bitstream.fitting.inspect", inspect_late)
    assert main(["thin", str(file), str(target), "--max-bytes", "1000"]) == 2
    assert "File exists" in capsys.readouterr().err
    assert target.read_text() == "other"
    assert main(["thin", str(file), str(file), "--stages", "2", "-f"]) == 0  # in place
    assert VqkReader(file).frames == 300

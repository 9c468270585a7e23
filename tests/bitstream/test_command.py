import json

import pytest
import torch

from vqkit.bitstream import VqkHeader, VqkReader, VqkWriter
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
        (["thin", "{file}", "out.vqk", "--kbps", "0.1"], "--kbps 0.1 is below the first stage"),
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

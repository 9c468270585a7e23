import io
import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from vqkit.bitstream import VqkReader, inspect
from vqkit.cli import main
from vqkit.coding.kinds import IMAGE, SOUND, kind_named, kind_of_file, sniffed


def vqkit(*words, **options):
    return subprocess.run([sys.executable, "-m", "vqkit.cli", *map(str, words)], capture_output=True, **options)


@pytest.fixture
def run(image_model, capsys):
    def call(*words, code=0, models=(image_model,)):
        assert main([*map(str, words), *[word for m in models for word in ("--model", str(m))]]) == code
        shown = capsys.readouterr()
        return shown.out, shown.err

    return call


def test_one_file_and_back(run, picture, tmp_path):
    source = picture(tmp_path / "a.jpg")
    out, err = run("encode", source)
    size = (tmp_path / "a.vqk").stat().st_size
    bpp = size * 8 / (60 * 83)
    assert out == f"{source} → {tmp_path / 'a.vqk'}: 83×60, {size} bytes, {bpp:.4f} bits a pixel, 3 stages\n"
    assert err == ""
    out, _ = run("decode", tmp_path / "a.vqk")
    assert out.startswith(f"{tmp_path / 'a.vqk'} → {tmp_path / 'a.png'}: 83×60, ")
    assert Image.open(tmp_path / "a.png").size == (83, 60)
    run("decode", tmp_path / "a.vqk", tmp_path / "deep/b.webp")
    assert Image.open(tmp_path / "deep/b.webp").format == "WEBP"
    assert run("decode", tmp_path / "a.vqk", "--to", "jpg", "--quiet", "-f") == ("", "")
    _, err = run("decode", tmp_path / "a.vqk", code=2)
    assert err == f"vqkit: {tmp_path / 'a.png'} exists; -f overwrites it\n"


def test_json_and_header(run, picture, tmp_path):
    source = picture(tmp_path / "a.png", mode="L")
    words = ["--bpp", "0.9", "--json", "--licence", "MIT", "--meta", "by=A=B"]
    out, _ = run("encode", source, tmp_path / "a.vqk", *words)
    size = (tmp_path / "a.vqk").stat().st_size
    assert json.loads(out) == {
        "source": str(source), "target": str(tmp_path / "a.vqk"), "height": 60, "width": 83, "bytes": size,
        "bpp": size * 8 / (60 * 83), "stages": 2, "notes": ["gray in each of 3 channels"], "warnings": [],
    }  # fmt: skip
    found = inspect(tmp_path / "a.vqk")
    assert (found["licence"], found["metadata"], found["image_size"]) == ("MIT", {"by": "A=B"}, [60, 83])


def test_mixed_folders(run, model, image_model, picture, sound, tmp_path):
    picture(tmp_path / "in/a.png")
    picture(tmp_path / "in/b/cover.JPG", (60, 60))
    sound(tmp_path / "in/b/song.wav")
    (tmp_path / "in/b/bad.webp").write_text("no image")
    both = (model, image_model)
    out, err = run("encode", tmp_path / "in", tmp_path / "one", code=1, models=both)
    *lines, total = out.splitlines()
    assert [line.partition(" → ")[0] for line in lines] == [
        str(tmp_path / "in" / name) for name in ("a.png", "b/cover.JPG", "b/song.wav")
    ]
    assert total.startswith("total: 3 files, 2.000 s, ")
    assert "bad.webp is not an image that can be read" in err
    words = ["--kbps", "5", "--bpp", "0.9", "--jobs", "2", "--json"]
    out, _ = run("encode", tmp_path / "in", tmp_path / "two", *words, code=1, models=both)
    *found, _ = [json.loads(line) for line in out.splitlines()]
    assert [one.get("stages") for one in found] == [2, None, 2, 2]
    run("encode", tmp_path / "in", tmp_path / "three", "--stages", "2", code=1, models=both)
    for name in ("a.vqk", "b/cover.vqk", "b/song.vqk"):  # the images' headers tell how many stages there were
        one, other = (VqkReader(tmp_path / folder / name).read()[:, :2] for folder in ("two", "three"))
        assert torch.equal(one, other)
    (tmp_path / "two/junk.vqk").write_text("junk")
    out, err = run("decode", tmp_path / "two", tmp_path / "back", "--to", "flac", code=1, models=both)
    assert "junk.vqk: not a vqk file" in err
    names = ["a.png", "b/cover.png", "b/song.flac"]
    assert sorted(p.relative_to(tmp_path / "back").as_posix() for p in (tmp_path / "back").rglob("*.*")) == names
    assert Image.open(tmp_path / "back/b/cover.png").size == (60, 60)
    assert soundfile.info(tmp_path / "back/b/song.flac").frames == 16000
    _, err = run("encode", tmp_path / "in", tmp_path / "four", "--kbps", "5", code=2, models=both)
    assert f"--kbps is for sound and video, and {tmp_path / 'in/a.png'} is not: give --bpp, too, or --stages" in err


def test_equal_stems_keep_their_suffixes_and_get_them_back(run, model, image_model, picture, sound, tmp_path):
    """A song and its cover, and a photo in two formats."""
    both = (model, image_model)
    sound(tmp_path / "in/song.flac", 0.5)
    picture(tmp_path / "in/song.png")
    picture(tmp_path / "in/photo.jpg")
    picture(tmp_path / "in/photo.png")
    sound(tmp_path / "in/other.wav", 0.5)
    run("encode", tmp_path / "in", tmp_path / "out", models=both)
    names = ["other.vqk", "photo.jpg.vqk", "photo.png.vqk", "song.flac.vqk", "song.png.vqk"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    run("decode", tmp_path / "out", tmp_path / "back", models=both)
    names = ["other.wav", "photo.jpg.png", "photo.png", "song.flac", "song.png"]
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == names
    assert soundfile.info(tmp_path / "back/song.flac").format == "FLAC"
    run("decode", tmp_path / "out", tmp_path / "webp", "--to", "webp", models=both)
    names = ["other.wav", "photo.jpg.webp", "photo.png.webp", "song.flac", "song.webp"]
    assert sorted(path.name for path in (tmp_path / "webp").iterdir()) == names
    out, _ = run("decode", tmp_path / "out/song.flac.vqk", models=(model,))
    assert out.startswith(f"{tmp_path / 'out/song.flac.vqk'} → {tmp_path / 'out/song.flac'}: ")


def test_damage_is_a_warning_and_exit_code_1(run, picture, tmp_path):
    run("encode", picture(tmp_path / "a.png", (200, 512)), tmp_path / "a.vqk")
    (tmp_path / "a.vqk").write_bytes((tmp_path / "a.vqk").read_bytes()[:-100])
    out, err = run("decode", tmp_path / "a.vqk", tmp_path / "b.png", code=1)
    assert "512×200" in out
    assert err == f"vqkit: warning: {tmp_path / 'a.vqk'}: the file ends after 4096 of 6400 cells; the others are gray\n"


def test_pipes(image_model, picture, tmp_path):
    data = picture(tmp_path / "a.webp", lossless=True).read_bytes()
    coded = vqkit("encode", "-", "-", "--model", image_model, "--bpp", "0.7", input=data)
    assert coded.stderr.decode().startswith("- → -: 83×60, ")
    back = vqkit("decode", "-", "-", "--to", "png", "--model", image_model, "--quiet", input=coded.stdout)
    assert (back.returncode, back.stderr) == (0, b"")
    (tmp_path / "b.vqk").write_bytes(coded.stdout)
    assert main(["decode", str(tmp_path / "b.vqk"), str(tmp_path / "c.png"), "--model", str(image_model)]) == 0
    one, other = (np.asarray(Image.open(source)) for source in (io.BytesIO(back.stdout), tmp_path / "c.png"))
    assert np.array_equal(one, other)
    bad = vqkit("encode", "-", "-", "--model", image_model, input=data[:300])
    assert bad.returncode == 2
    assert bad.stderr.decode().startswith("vqkit: standard input: it has a damaged header")


@pytest.mark.parametrize(
    ("form", "name"),
    [(form, name) for form, name in
     (("PNG", "a.png"), ("JPEG", "a.jpg"), ("WEBP", "a.webp"), ("GIF", "a.gif"), ("BMP", "a.bmp"), ("TIFF", "a.tif"),
      ("PPM", "a.ppm"), ("AVIF", "a.avif"), ("JPEG2000", "a.jp2"))],
)  # fmt: skip
def test_images_are_known_by_their_first_bytes(form, name):
    file = io.BytesIO()
    try:
        Image.new("RGB", (16, 16)).save(file, form)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow does not write {form}")
    assert sniffed(io.BytesIO(file.getvalue()))[0] == IMAGE == kind_named(name)

    class Trickle(io.BytesIO):
        def seekable(self):
            return False

        def read(self, size=-1):
            return super().read(min(size, 3) if size > 0 else size)

    kind, stream = sniffed(Trickle(file.getvalue()))
    assert kind == IMAGE
    assert stream.read() == file.getvalue()


def test_content_decides_and_not_the_suffix(run, model, image_model, picture, sound, tmp_path):
    form = {
        "a.wav": "PNG",
        "b.mp3": "JPEG",
        "c": "WEBP",
        "d.jfif": "JPEG",
        "e.apng": "PNG",
        "f.xyz": "BMP",
        "g.png": "TIFF",
    }
    for name, kind in form.items():
        picture(tmp_path / "in" / name, (20, 30), format=kind)
    for name, kind in {"h.png": "MP3", "i.jpg": "WAV", "j": "FLAC", "k.tif": "OGG"}.items():
        sound(tmp_path / "x.wav", format=kind).rename(tmp_path / "in" / name)
    both = (model, image_model)
    assert [kind_of_file(path) for path in sorted((tmp_path / "in").iterdir())] == [IMAGE] * 7 + [SOUND] * 4
    out, err = run("encode", tmp_path / "in", tmp_path / "out", "--json", models=both)
    found = [json.loads(line) for line in out.splitlines()][:-1]
    names = "abcdefghijk"
    assert [one["target"] for one in found] == [str(tmp_path / "out" / f"{name}.vqk") for name in names]
    assert ["bpp" in one for one in found] == [True] * 7 + [False] * 4
    assert err == ""
    out, _ = run("decode", tmp_path / "out", tmp_path / "back", models=both)
    made = sorted(path.name for path in (tmp_path / "back").iterdir())
    assert made == [f"{name}.png" for name in names[:7]] + [f"{name}.wav" for name in names[7:]]
    run("encode", tmp_path / "in/h.png", tmp_path / "one.vqk", models=(model,))  # by itself, too
    assert (tmp_path / "one.vqk").read_bytes() == (tmp_path / "out/h.vqk").read_bytes()
    run("encode", tmp_path / "in/a.wav", tmp_path / "two.vqk")
    assert (tmp_path / "two.vqk").read_bytes() == (tmp_path / "out/a.vqk").read_bytes()
    (tmp_path / "out/a.vqk").rename(tmp_path / "out/a")
    assert "out/a is encoded already; `vqkit decode" in run("encode", tmp_path / "out/a", code=2, models=())[1]


def test_what_is_nothing_we_know_is_counted(run, picture, tmp_path):
    picture(tmp_path / "in/a.png", (20, 30))
    picture(tmp_path / "in/b/a.png", (20, 30))
    run("encode", tmp_path / "in/a.png")  # one that is encoded already is known
    for name in ("notes.txt", "README", "b/photo.heic", "b/.hidden"):
        (tmp_path / "in" / name).write_bytes(b"\0\0\0\x18ftypheic")
    out, err = run("encode", tmp_path / "in", tmp_path / "out")
    names = ", ".join(str(tmp_path / "in" / name) for name in ("README", "b/photo.heic", "notes.txt"))
    assert err == f"vqkit: passed over 3 files that are neither sound nor images: {names}\n"
    assert out.splitlines()[-1].endswith("; 3 passed over")
    out, err = run("encode", tmp_path / "in", tmp_path / "out", "-f", "--json", "--quiet")
    found = [json.loads(line) for line in out.splitlines()]
    passed = [one["source"] for one in found if one.get("passed_over") == "neither sound nor an image"]
    assert len(passed) == found[-1]["total"]["passed_over"] == 3
    assert err.count("\n") == 1
    (tmp_path / "in/x.txt").touch()
    assert run("encode", tmp_path / "in", tmp_path / "out", "-f")[1].endswith(", …\n")
    (tmp_path / "only").mkdir()
    (tmp_path / "only/notes.txt").touch()
    _, err = run("encode", tmp_path / "only", code=2)
    assert err.endswith(f"; {tmp_path / 'only/notes.txt'} is neither sound nor an image\n")
    _, err = run("encode", tmp_path / "in/notes.txt", models=(), code=2)
    assert err.endswith("notes.txt is not audio that soundfile or PyAV can read, and no image that is known\n")


def test_a_limit_of_pixels(run, picture, tmp_path):
    source = picture(tmp_path / "a.png", (30, 40))
    _, err = run("encode", source, "--max-megapixels", "0.0011", code=2)
    assert err == f"vqkit: {source} has 40 × 30 pixels, allowed are at least 1 and at most 0.0011 megapixels\n"
    run("encode", source, "--max-megapixels", "0.0012")
    _, err = run("decode", tmp_path / "a.vqk", tmp_path / "b.png", "--max-megapixels", "0.0011", code=2)
    assert err.endswith("a.vqk: it has 40 × 30 pixels, allowed are at most 0.0011 megapixels\n")
    run("decode", tmp_path / "a.vqk", tmp_path / "b.png", "--max-megapixels", "0.0012")
    for command in ("encode", "decode"):
        for limit in ("0", "-3", "nan"):
            _, err = run(command, source, f"--max-megapixels={limit}", code=2)
            assert err == f"vqkit: --max-megapixels is {limit}, it must be more than 0\n"


def test_more_than_the_usual_limit(run, tmp_path):
    """As large as it must be to be refused by default; the tokenizer never sees it."""
    path = tmp_path / "a.png"
    Image.new("1", (8001, 8000)).save(path)
    _, err = run("encode", path, code=2)
    assert "8001 × 8000 pixels, allowed are at least 1 and at most 64 megapixels" in err


def test_a_folder_of_images_with_notes(run, picture, tmp_path):
    pages = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "green")]
    (tmp_path / "in").mkdir()
    pages[0].save(tmp_path / "in/a.gif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "in/b.tif", save_all=True, append_images=pages[1:])
    pages[0].putalpha(9)
    pages[0].save(tmp_path / "in/c.png")
    pages[1].convert("CMYK").save(tmp_path / "in/d.jpg")
    pages[1].save(tmp_path / "in/e.png", icc_profile=b"junk")
    pages[1].save(tmp_path / "in/f.png")
    out, _ = run("encode", tmp_path / "in", tmp_path / "out", "--json")
    assert [json.loads(line)["notes"] for line in out.splitlines()[:-1]] == [
        ["the first of 3 frames; the others are left out"],
        ["the first of 3 pages; the others are left out"],
        ["what is transparent shows white"],
        ["CMYK without a colour profile: converted by formula"],
        ["its colour profile is not applied: cannot open profile from string"],
        [],
    ]
    out, err = run("encode", tmp_path / "in/a.gif", tmp_path / "a.vqk")
    assert out.endswith(" stages; the first of 3 frames; the others are left out\n")
    assert err == ""


@pytest.mark.parametrize("head", [b"", b"RIFF1234WAVEfmt ", b"fLaC", b"OggS", b"ID3", b"\0\0\0\x20ftypisom", b"Pxyz"])
def test_all_else_counts_as_sound(head):
    assert sniffed(io.BytesIO(head))[0] == SOUND


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encode", "a.png", "--refine-steps", "3"], "--refine-steps is for sound, and a.png is not"),
        (["encode", "a.png", "--strict"], "--strict is for sound, and a.png is not"),
        (
            ["encode", "a.png", "--kbps", "3"],
            "--kbps is for sound and video, and a.png is not: give --bpp, --stages or --max-bytes",
        ),
        (
            ["encode", "a.wav", "--bpp", "3"],
            "--bpp is for images, and a.wav is not: give --kbps, --stages or --max-bytes",
        ),
        (
            ["encode", "a.png", "--bpp", "1", "--stages", "2"],
            "only one of stages, max_bytes, and kbps or bpp can be given",
        ),
        (
            ["encode", "a.png", "--bpp", "0.01"],
            "a.png: bpp=0.01 allows 6 bytes for 83×60 pixels, and the smallest possible file, of one stage, has",
        ),
        (["encode", "a.png", "--stages", "9"], "stages is 9, this tokenizer has 1 to 3"),
        (["encode", "a.png", "b.jpg"], "b.jpg: encoding makes .vqk files; `vqkit decode` makes images of them"),
        (["encode", "a.wav"], "codes images, and nothing here is of that kind"),
        (["decode", "a.png"], "a.png is no .vqk file; `vqkit encode a.png` makes one of it"),
        (["decode", "i.vqk", "b.wav"], "i.vqk holds images, and b.wav would be sound"),
        (["decode", "i.vqk", "--to", "flac"], "--to flac is for sound, and i.vqk holds images"),
        (["decode", "i.vqk", "b.gif"], "cannot write b.gif: the suffix is '.gif', allowed are .wav"),
        (["encode", "cut.png"], "cut.png is damaged or cut short"),
    ],
)
def test_usage(image_model, picture, sound, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    sound(tmp_path / "a.wav")
    (tmp_path / "cut.png").write_bytes(picture(tmp_path / "a.png").read_bytes()[:-3000])
    assert main(["encode", "a.png", "i.vqk", "--model", str(image_model), "--quiet"]) == 0
    assert main([*words[:1], "--model", str(image_model), *words[1:]]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "a.png", "cut.png", "i.vqk"}


def test_models_that_do_not_fit(run, image_model, model, picture, tmp_path, monkeypatch):
    source = picture(tmp_path / "a.png")
    assert "are both models of images: give one" in run("encode", source, models=(image_model, image_model), code=2)[1]
    assert f"{model} codes sound, and nothing here is" in run("encode", source, models=(model,), code=2)[1]
    monkeypatch.setattr("vqkit.coding.image.kind.SHIPPED", tmp_path / "none")
    assert "no image tokenizer ships with this vqkit: name the folder" in run("encode", source, models=(), code=2)[1]


def test_only_one_modality_of_a_folder(run, picture, tmp_path):
    picture(tmp_path / "in/a.png", (20, 30))
    soundfile.write(tmp_path / "in/b.wav", np.zeros(800), 8000)
    (tmp_path / "in/c.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    out, err = run("encode", tmp_path / "in", tmp_path / "out", "--as", "image")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.vqk"]
    assert err.splitlines() == [
        f"vqkit: {tmp_path / 'in' / name} is passed over: it is sound, and --as says image"
        for name in ("b.wav", "c.mp4")
    ]
    assert out.splitlines()[-1].endswith("; 2 passed over")
    for source, word, message in (
        ("in/a.png", "sound", f"--as sound: {tmp_path / 'in/a.png'} holds images"),
        ("in/c.mp4", "image", f"--as image: {tmp_path / 'in/c.mp4'} holds sound"),
        ("in/b.wav", "video", f"--as video: {tmp_path / 'in/b.wav'} holds sound"),
    ):
        _, err = run("encode", tmp_path / source, "--as", word, code=2, models=())
        assert err.startswith(f"vqkit: {message}")
        assert err.count("\n") == 1

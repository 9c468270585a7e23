"""Images of few colours go to the tokenizer that has less error in no more bytes; files name it, and decode without being told."""

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from vqkit.bitstream import inspect
from vqkit.cli import main
from vqkit.coding.image import choice
from vqkit.coding.image.choice import better_tokenizer, has_few_colours
from vqkit.coding.image.encode import prepared_image
from vqkit.coding.rate import Rate
from vqkit.data import list_images, read_image, sample_folder
from vqkit.models import ImageTokenizer
from vqkit.models.identity import weight_hash
from vqkit.models.image.tokenizer import DRAWN

PHOTOGRAPH = str(list_images(sample_folder(), "test")[0].path)


@pytest.fixture(scope="module")
def usual():
    return ImageTokenizer.from_pretrained()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Black text on white, smoothed."""
    image = Image.new("RGB", (160, 96), "white")
    for line in range(5):
        ImageDraw.Draw(image).text(
            (4, 4 + 18 * line), "A page of black letters", font=ImageFont.load_default(14), fill="black"
        )
    path = tmp_path_factory.mktemp("page") / "page.png"
    image.save(path)
    return str(path)


def psnr_db(path, original):
    return float(-10 * (read_image(path, 3) - read_image(original, 3)).square().mean().clamp_min(1e-10).log10())


def test_few_colours():
    image = torch.from_numpy(np.arange(64 * 64).reshape(64, 64) % 256 / 255).float()
    assert has_few_colours(image[None])
    assert has_few_colours(torch.stack([image, image.T, image]))
    assert not has_few_colours(torch.rand(3, 100, 100, generator=torch.Generator().manual_seed(0)))


def chosen(usual, source, rate):
    return better_tokenizer(usual, prepared_image(usual, source), rate)


@pytest.mark.parametrize("rate", [Rate(), Rate(bpp=0.8), Rate(max_bytes=2500)], ids=str)
def test_text_goes_to_the_one_for_drawn_images(usual, page, rate):
    found = chosen(usual, page, rate)
    assert weight_hash(found) == weight_hash(ImageTokenizer.from_pretrained(DRAWN))


@pytest.mark.parametrize("rate", [Rate(), Rate(bpp=0.3)], ids=str)
def test_a_photograph_does_not(usual, rate):
    assert chosen(usual, PHOTOGRAPH, rate) is usual


def test_a_photograph_of_few_colours_does_not_either(usual, tmp_path):
    Image.open(PHOTOGRAPH).convert("RGB").resize((96, 64)).quantize(256).convert("RGB").save(tmp_path / "few.png")
    assert has_few_colours(prepared_image(usual, tmp_path / "few.png").image)
    for rate in (Rate(), Rate(bpp=0.5), Rate(bpp=1.5)):
        assert chosen(usual, tmp_path / "few.png", rate) is usual


def test_where_the_usual_one_has_to_leave_out_stages_both_are_compared(usual, page):
    """At such a rate the coarsest step is too large: low frequencies alone are still more than one colour a block."""
    image = prepared_image(usual, page)
    coarsest = len(usual.compress(image.image, rate_weight=usual.quantizer.rate_weights[-1]))
    assert better_tokenizer(usual, image, Rate(max_bytes=coarsest - 1)) is usual


def test_stages_and_weights_are_those_of_the_usual_one(usual, page):
    for rate in (Rate(stages=2), Rate(rate_weight=0.01)):
        assert chosen(usual, page, rate) is usual


def test_it_is_done_without_where_it_does_not_ship(usual, page, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "DRAWN", tmp_path / "none")
    assert chosen(usual, page, Rate()) is usual


def test_as_little_error_in_fewer_bytes_is_better(usual, tmp_path):
    Image.new("RGB", (3, 3000), "white").save(tmp_path / "white.png")
    assert weight_hash(chosen(usual, tmp_path / "white.png", Rate())) == weight_hash(
        ImageTokenizer.from_pretrained(DRAWN)
    )


def test_where_none_fits_the_error_names_the_least(usual, tmp_path, capsys):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    words = ["encode", str(tmp_path / "red.png"), str(tmp_path / "a.vqk"), "--max-bytes"]
    assert main([*words, "100"]) == 2
    least = int(re.search(r"of one stage, has (\d+) bytes", capsys.readouterr().err)[1])
    assert main([*words, str(least - 1)]) == 2
    assert main([*words, str(least)]) == 0


def test_a_pipe_finds_it_again_too(page, tmp_path, monkeypatch, capsys):
    assert main(["encode", page, str(tmp_path / "a.vqk")]) == 0
    assert main(["decode", str(tmp_path / "a.vqk"), str(tmp_path / "a.png")]) == 0
    for words, code in (([], 0), (["--model", "vqkit-image-2"], 2)):
        with (tmp_path / "a.vqk").open("rb") as file:
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(_Pipe(file.read()))))
            assert main(["decode", "-", str(tmp_path / "b.png"), *words, "-f"]) == code
    assert "give --model vqkit-image-drawn" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


class _Pipe(io.RawIOBase):
    """Bytes that can be read once, a few at a time."""

    def __init__(self, data):
        self._data = data

    def readable(self):
        return True

    def readinto(self, buffer):
        part, self._data = self._data[: min(700, len(buffer))], self._data[min(700, len(buffer)) :]
        buffer[: len(part)] = part
        return len(part)


def test_the_commands_choose_and_find_it_again(page, tmp_path, capsys):
    file = tmp_path / "a.vqk"
    assert main(["encode", page, str(file), "--bpp", "1"]) == 0
    drawn = ImageTokenizer.from_pretrained(DRAWN)
    assert inspect(file)["model_hash"] == weight_hash(drawn)
    assert 8 * file.stat().st_size <= 160 * 96
    assert main(["decode", str(file), str(tmp_path / "a.png")]) == 0
    named = tmp_path / "named.vqk"
    assert main(["encode", page, str(named), "--bpp", "1", "--model", "vqkit-image-2"]) == 0
    assert inspect(named)["model_hash"] == weight_hash(ImageTokenizer.from_pretrained())
    assert main(["decode", str(named), str(tmp_path / "named.png")]) == 0
    assert psnr_db(tmp_path / "a.png", page) > psnr_db(tmp_path / "named.png", page) + 6
    capsys.readouterr()


def test_errors_are_summed_over_tiles(usual, page, monkeypatch):
    image = prepared_image(usual, page).image
    whole = [choice._error(model, image) for model in (usual, choice._drawn())]
    monkeypatch.setattr(choice, "TILE_PIXELS", 48)
    tiled = [choice._error(model, image) for model in (usual, choice._drawn())]
    assert tiled[0] == pytest.approx(whole[0], rel=0.2)  # blocks lap into their neighbours
    assert tiled[1] == pytest.approx(whole[1], rel=1e-3)

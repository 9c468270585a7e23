import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from vqkit.report import load_results, write_report
from vqkit.report.error_map import GAIN
from vqkit.report.picture_grid import picture_grid


class Page(HTMLParser):
    """The tags of a page, and its text; every tag that is opened must be closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "br", "input", "path"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "path":
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def _pixels(uri):
    head, content = uri.split(",", 1)
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(BytesIO(b64decode(content, validate=True))))


@pytest.fixture
def page(image_results_json, write_image_folder):
    del image_results_json["systems"][1]["reconstructions"]["test 1"]
    path = write_report(write_image_folder(image_results_json))
    return Page(path.read_text(encoding="utf-8"))


def test_everything_is_in_the_page(page):
    for _, attrs in page.tags:
        for key in ("src", "href", "srcset"):
            if key in attrs:
                assert attrs[key].startswith(("data:", "#")), attrs[key][:60]
    pictures = [attrs for attrs in page.all("img") if "class" in attrs]
    assert len(pictures) == 3 + 2 * (3 * 4 - 1)
    for attrs in pictures:
        assert attrs["class"].endswith("enlarged")
        assert (attrs["width"], attrs["height"]) == ("112", "112")  # four times 28
        assert _pixels(attrs["src"]).shape[:2] == (28, 28)
        assert attrs["alt"]
    assert page.all("audio") == []


def test_the_toggle_needs_no_script(page):
    buttons = page.all("input")
    assert [(b["type"], b["name"], "checked" in b) for b in buttons] == [
        ("radio", "look", True),
        ("radio", "look", False),
        ("radio", "look", False),
    ]
    assert {label["for"] for label in page.all("label")} == {b["id"] for b in buttons}
    style = re.search(r"#look-errors:checked ~ \.scroll \.error", page.text)
    assert style is not None


def test_says_what_is_shown(page, image_results_json):
    text = " ".join(page.text.split())
    assert f"with a gain of {GAIN} for all systems" in text
    assert "the lightest 0.25 of full scale or more" in text
    assert len(re.findall(r"largest error 0\.\d\d", text)) == 11
    assert "192 bits/image" in text
    psnr = image_results_json["systems"][0]["metrics"]["psnr"]["mean"]
    assert f"PSNR {psnr:.1f} dB" in text
    assert "stage 2, segment 1" in text
    assert "segment 4" in text
    assert "kbps" not in text


def test_headings_and_references(page):
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    references = [attrs["aria-labelledby"] for _, attrs in page.tags if "aria-labelledby" in attrs]
    assert {*references, *(attrs["href"][1:] for attrs in page.all("a"))} <= set(ids)
    assert "#look" in [attrs["href"] for attrs in page.all("a")]


def test_errors_are_those_of_the_files(image_results_json, write_image_folder):
    folder = write_image_folder(image_results_json)
    grid = picture_grid(load_results(folder), folder)
    row, index = grid.rows[1], [system.name for system in grid.systems].index("PVQ 4×8")
    original, other = (np.asarray(Image.open(folder / f"images/{name}/1.png")).astype(int) for name in ("original", 2))
    np.testing.assert_array_equal(_pixels(row.uri), original)
    np.testing.assert_array_equal(_pixels(row.cells[index].uri), other)
    error = np.abs(original - other).max(axis=2)
    assert row.cells[index].largest_error == pytest.approx(error.max() / 255)
    np.testing.assert_array_equal(_pixels(row.cells[index].error_uri), np.minimum(GAIN * error, 255))
    assert grid.largest_error == max(cell.largest_error for row in grid.rows for cell in row.cells)
    assert grid.groups == (("6 bits per token", 1), ("12 bits per token", 2), ("24 bits per token", 1))


@pytest.mark.parametrize(
    ("size", "shown", "enlarged"),
    [((1, 1), (128, 128), True), ((32, 24), (128, 96), True), ((100, 60), (100, 60), True),
     ((128, 96), (128, 96), False), ((256, 200), (256, 200), False), ((768, 512), (256, 171), False)],
)  # fmt: skip
def test_small_pictures_are_enlarged_by_whole_numbers(image_results_json, write_image_folder, size, shown, enlarged):
    image_results_json["systems"] = []
    image_results_json["images"] = [image_results_json["images"][0] | {"width": size[0], "height": size[1]}]
    folder = write_image_folder(image_results_json)
    row = picture_grid(load_results(folder), folder).rows[0]
    assert ((row.width, row.height), row.enlarged) == (shown, enlarged)


def test_nothing_is_written_for_bad_files(image_results_json, write_image_folder):
    folder = write_image_folder(image_results_json)
    (folder / "images/1/2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2\.png does not exist, though results.json names it"):
        write_report(folder)
    Image.new("RGB", (28, 30)).save(folder / "images/1/2.png")
    with pytest.raises(ValueError, match=r"1/2\.png is 28 pixels wide and 30 high, must be 28 and 28 as results.json"):
        write_report(folder)
    assert sorted(file.name for file in folder.iterdir()) == ["images", "results.json"]


def test_without_pictures_or_reconstructions(image_results_json, write_image_folder):
    for system in image_results_json["systems"]:
        system["reconstructions"] = None
        del system["metrics"]["psnr"]
    page = Page(write_report(write_image_folder(image_results_json)).read_text(encoding="utf-8"))
    assert len([attrs for attrs in page.all("img") if "enlarged" in attrs.get("class", "")]) == 3
    image_results_json["images"] = []
    page = Page(write_report(write_image_folder(image_results_json)).read_text(encoding="utf-8"))
    assert page.all("input") == []
    assert "#look" not in [attrs["href"] for attrs in page.all("a")]


def test_names_are_escaped(image_results_json, write_image_folder):
    evil = '<script>alert("x")</script>\'"&'
    picture, system = image_results_json["images"][0], image_results_json["systems"][0]
    system["reconstructions"][evil] = system["reconstructions"].pop(picture["name"])
    picture.update(name=evil, group=evil)
    system["name"] = evil
    page = Page(write_report(write_image_folder(image_results_json)).read_text(encoding="utf-8"))
    assert len(page.all("script")) == 1
    assert f"{evil}, original" in [attrs.get("alt") for attrs in page.all("img")]

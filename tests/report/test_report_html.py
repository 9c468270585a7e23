import itertools
import re
from base64 import b64decode
from html.parser import HTMLParser
from io import BytesIO

import pytest
import soundfile
from PIL import Image

from vqkit.report import write_report

VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and tag not in ("path",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "path":
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def report(report_path):
    return report_path, Page(report_path.read_text(encoding="utf-8"))


def test_one_file_with_everything_in_it(report):
    path, page = report
    assert (path.name, path.parent.joinpath("report.md").is_file()) == ("report.html", True)
    for attrs in (attrs for _, attrs in page.tags):
        for key in ("src", "href", "srcset", "poster", "action", "data"):
            if key in attrs:
                assert attrs[key].startswith(("data:", "#")), attrs[key][:60]
    style_and_script = "".join(re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", path.read_text(), flags=re.S))
    assert "http" not in style_and_script
    assert "url(" not in style_and_script
    assert "@import" not in style_and_script
    assert page.all("link") == [{"rel": "icon", "href": "data:,"}]


def test_all_data_uris_decode(report):
    _, page = report
    for attrs in page.all("img"):
        head, content = attrs["src"].split(",", 1)
        assert head == "data:image/png;base64"
        Image.open(BytesIO(b64decode(content, validate=True))).load()
    for attrs in page.all("audio"):
        head, content = attrs["src"].split(",", 1)
        assert head == "data:audio/flac;base64"
        samples, sample_rate = soundfile.read(BytesIO(b64decode(content, validate=True)))
        assert (len(samples), sample_rate) == (16000, 16000)


def test_every_system_and_clip_is_there(report, results_json):
    _, page = report
    text = " ".join(page.text)
    for system in results_json["systems"]:
        assert text.count(system["name"]) >= 1 + 1 + 2  # table, details, two players
        assert system["expression"] in text
    for clip in results_json["clips"]:
        assert clip["name"] in text
    for protocol in results_json["protocols"].values():
        assert protocol["description"] in text
    assert len(page.all("audio")) == 2 * (1 + 5)
    assert all("controls" in attrs and attrs["preload"] == "none" for attrs in page.all("audio"))
    assert results_json["command"] in text


def test_accessible(report):
    _, page = report
    assert page.all("html") == [{"lang": "en"}]
    assert all(attrs.get("alt") for attrs in page.all("img"))
    assert all(attrs.get("aria-label") for attrs in page.all("audio"))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    references = [attrs[key] for _, attrs in page.tags for key in ("aria-labelledby",) if key in attrs]
    references += [attrs["href"][1:] for attrs in page.all("a")]
    assert set(references) <= set(ids)
    assert any(attrs.get("name") == "viewport" for attrs in page.all("meta"))


def test_tables_are_grouped_and_sortable(report):
    path, _ = report
    tables = re.findall(r'<table class="sortable">(.*?)</table>', path.read_text(), flags=re.S)
    assert len(tables) == 3
    names = [re.findall(r'<th scope="row" data-value="(.*?)">', table) for table in tables]
    assert names == [["RVQ 2×64", "PVQ 2×64"], ["IVQ yin-yang 4×2", "RVQ 4×64"], ["RVQ 8×64"]]
    assert 'class="best"' in tables[1]
    assert 'class="best"' not in tables[2]
    values = re.findall(r'<td data-value="(.*?)"', tables[0])
    assert len(values) == 2 * (4 + 6 + 3)
    assert all(float(value) is not None for value in values)


def test_use_of_the_codebooks_stands_under_its_own_heads(report, results_json):
    path, _ = report
    tables = re.findall(r"<table[^>]*>(?:(?!<table).)*?ECU \(BRIDLE\).*?</table>", path.read_text(), flags=re.S)
    assert len(tables) == len(results_json["systems"])
    heads = ["size", "usage %", "entropy<small>bits</small>", "perplexity", "ECU %", "ECU (BRIDLE)", "tokens"]
    found = set()
    for table in tables:
        columns = re.findall(r'<th scope="col">(.*?)</th>', table)[1:]
        row = re.findall(r'<tr><th scope="row">pooled</th>(.*?)</tr>', table)[0]
        cells = dict(zip(columns, re.findall(r"<td>(.*?)</td>", row), strict=True))
        found.add(tuple(cells[head] for head in heads))
    uses = [system["usage"]["pooled"] for system in results_json["systems"]]
    assert found == {
        (
            str(use["codebook_size"]),
            f"{100 * use['usage']:.0f}",
            f"{use['entropy_bits']:.2f}",
            f"{use['perplexity']:.1f}",
            f"{100 * use['ecu']:.0f}",
            f"{use['ecu_bridle']:.3f}",
            f"{use['tokens']:,}",
        )
        for use in uses
    }


def test_text_is_escaped(small_results_json, write_folder):
    evil = '<script>alert("x")</script>\'"&'
    small_results_json["title"] = small_results_json["command"] = evil
    small_results_json["systems"][0]["name"] = small_results_json["systems"][0]["expression"] = evil
    small_results_json["protocols"]["mel"].update(name=evil, description=evil, unit=evil, further=evil)
    original = small_results_json["clips"][0]["name"]
    small_results_json["clips"][0].update(name=evil, group=evil)
    for system in small_results_json["systems"]:
        system["reconstructions"][evil] = system["reconstructions"].pop(original)
    text = write_report(write_folder(small_results_json)).read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.all("script")) == 1
    assert "alert(" not in text.split("<script>")[1]
    assert evil in page.text  # and yet it reads as it was written
    assert evil in [attrs.get("data-value") for attrs in page.all("th")]


def test_nothing_turns_the_direction_of_the_page_or_steers_a_terminal(small_results_json, write_folder):
    """The page and the Markdown beside it, which somebody may print."""
    evil = "\u202egnp.exe\x1b[2J"
    small_results_json.update(title=evil, command=f"one\n{evil}")
    small_results_json["systems"][0]["name"] = evil
    report = write_report(write_folder(small_results_json))
    for text in (report.read_text("utf-8"), report.with_suffix(".md").read_text("utf-8")):
        assert not set(text) & set("\u202e\x1b")
    page = Page(report.read_text("utf-8"))
    assert r"\u202egnp.exe\x1b[2J" in page.text
    assert "one\n" + r"\u202egnp.exe\x1b[2J" in page.text  # a command may have several lines


def test_the_title_is_escaped_in_markdown(small_results_json, write_folder):
    small_results_json["title"] = "a <b> *c*"
    report = write_report(write_folder(small_results_json))
    assert report.with_suffix(".md").read_text("utf-8").startswith("# a &lt;b&gt; \\*c\\*\n")


def test_without_optional_parts(small_results_json, write_folder):
    small_results_json.update(commit=None)
    for system in small_results_json["systems"]:
        optional = ("entropy_kbps", "loss_curve", "residual_energy", "pca", "rate_curve", "reconstructions")
        system.update(dict.fromkeys(optional))
        system["metrics"]["mel"] = {"mean": None, "std": None, "values": [None]}
    page = Page(write_report(write_folder(small_results_json)).read_text(encoding="utf-8"))
    assert "commit unknown" in " ".join(page.text)
    assert len(page.all("audio")) == 1  # the original


def test_other_audio_formats_are_embedded_as_flac(small_results_json, write_folder):
    small_results_json["clips"][0]["original"] = "audio/original/0.wav"
    page = Page(write_report(write_folder(small_results_json)).read_text(encoding="utf-8"))
    assert b64decode(page.all("audio")[0]["src"].split(",")[1]).startswith(b"fLaC")


def test_nothing_is_written_for_bad_results(small_results_json, write_folder):
    folder = write_folder(small_results_json)
    (folder / "audio/0/0.flac").unlink()
    with pytest.raises(FileNotFoundError, match=r"0\.flac does not exist, though results.json names it"):
        write_report(folder)
    assert sorted(file.name for file in folder.iterdir()) == ["audio", "results.json"]


def test_no_temporary_files_stay(report):
    path, _ = report
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "audio",
        "plots",
        "report.html",
        "report.md",
        "results.json",
    ]
    assert not list(path.parent.rglob(".*"))

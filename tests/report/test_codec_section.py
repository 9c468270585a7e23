"""The part of the report that shows a codec at rates, from a small results file."""

import itertools
import json
import re
from base64 import b64decode
from io import StringIO

import pytest
import soundfile
from rich.console import Console

from vqkit.report import load_rate_results, write_report
from vqkit.report.rate_cells import rate_cells, rate_columns
from vqkit.report.rate_live import LiveRates, rates_table
from vqkit.report.rate_rows import Interval, RateRow
from vqkit.report.results import Protocol

SYSTEMS = [
    ("vqkit 3 kbps", "vqkit", 3, 2.9, 2.2),
    ("vqkit 6 kbps", "vqkit", 6, 5.8, 2.9),
    ("Opus 6 kbps", "Opus", 6, 5.9, 1.8),
]
EVIL = '<script>alert("x")</script>\'"&'


def interval(mean):
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "count": 2}


@pytest.fixture
def rates_json():
    return small_rates()


def small_rates():
    return {
        "title": "The shipped codec",
        "command": "vqkit demo",
        "created": "2026-01-02T03:04:05+00:00",
        "commit": None,
        "versions": {"vqkit": "0.1.0"},
        "codec": {"model": "SpectralCodec", "parameters": 12345, "sample_rate": 16000, "weights": "ab" * 32, "prior": None},
        "protocols": {
            "speech": {"pesq": {"name": "PESQ", "unit": "MOS", "better": "higher", "description": "of speech", "mode": "wb"}}
        },
        "notes": ["STOI of speech is missing here"],
        "rows": [
            {
                "kind": "speech",
                "system": name,
                "family": family,
                "asked_kbps": asked,
                "kbps": kbps,
                "file_kbps": kbps + 1,
                "sounds": 2,
                "metrics": {"pesq": interval(pesq)},
            }
            for name, family, asked, kbps, pesq in SYSTEMS
        ],
        "sounds": [
            {"name": name, "group": "speech", "sample_rate": 16000, "seconds": 0.5, "original": f"codec/{name}/original.flac"}
            for name in ("a", "b")
        ],
        "values": [
            {
                "sound": sound,
                "system": name,
                "packet_bytes": 181,
                "file_bytes": 1324,
                "audio": f"codec/{sound}/{i}.flac",
                "vqk": f"codec/{sound}/{i}.vqk" if family == "vqkit" else None,
                "values": {"pesq": pesq},
            }
            for sound in ("a", "b")
            for i, (name, family, _, _, pesq) in enumerate(SYSTEMS)
        ],
    }  # fmt: skip


@pytest.fixture
def folder(write_small, rates_json, tmp_path):
    return with_rates(write_small(tmp_path), rates_json)


@pytest.fixture(scope="module")
def report(write_small, tmp_path_factory):
    """A report that no test changes."""
    return write_report(with_rates(write_small(tmp_path_factory.mktemp("codec")), small_rates()))


def with_rates(folder, rates_json):
    (folder / "rate_quality.json").write_text(json.dumps(rates_json), "utf-8")
    sounds = [sound["original"] for sound in rates_json["sounds"]] + [value["audio"] for value in rates_json["values"]]
    for path in sounds:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, [0.1, -0.1] * 4000, 16000)
    for value in rates_json["values"]:
        if value["vqk"]:
            (folder / value["vqk"]).write_bytes(b"VQK" + value["system"].encode())
    return folder


def test_the_page_begins_with_the_codec(report):
    page = report.read_text("utf-8")
    assert page.count("<h1>The shipped codec, and quantizers compared</h1>") == 1
    assert page.index('id="codec"') < page.index('id="comparison"') < page.index('id="tables"')
    assert "STOI of speech is missing here" in page
    assert "SpectralCodec with 12,345 parameters at 16,000 Hz; weights abababababab…, no prior." in page
    table = re.search(r'id="codec-1".*?<table class="sortable">(.*?)</table>', page, re.DOTALL)[1]
    assert re.findall(r'<th scope="row" data-value="(.*?)">', table) == [name for name, *_ in SYSTEMS]
    assert re.findall(r'<td data-value="2648">(.*?)</td>', table) == ["2,648"] * 3
    assert re.findall(r'class="best">([\d.]+)', table) == ["2.90"]  # the cheapest has no rival, Opus has a better one
    assert {path.name for path in (report.parent / "plots").iterdir()} >= {"codec-speech.png", "quality.png"}


def test_every_sound_has_its_players_and_files(report):
    page = report.read_text("utf-8")
    section = page[page.index('id="codec-listen"') : page.index('id="comparison"')]
    for clip in section.split('<section class="clip"')[1:]:
        assert re.findall(r'<audio [^>]*data-key="(\d)"', clip) == ["0", "1", "2", "3"]
        assert "256 kbps, 16 kB" in clip
        assert clip.count("2.90 kbps, file 1.32 kB") == 3
        links = re.findall(r'href="data:application/octet-stream;base64,(.*?)" download="(.*?)"', clip)
        assert [(b64decode(data), name) for data, name in links] == [
            (b"VQKvqkit 3 kbps", "0.vqk"),
            (b"VQKvqkit 6 kbps", "1.vqk"),
        ]
    assert len(re.findall(r'<section class="clip"', section)) == 2


def test_one_file_without_references(report):
    page = report.read_text("utf-8")
    for found in re.findall(r'(?:src|href)="(.*?)"', page):
        assert found.startswith(("data:", "#"))
    ids = re.findall(r' id="(.*?)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|aria-labelledby=")(.*?)"', page)) <= set(ids)
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_markdown_has_the_table(report):
    text = report.with_suffix(".md").read_text("utf-8")
    assert text.startswith("# The shipped codec\n")
    assert "| vqkit 6 kbps | 5.8 | 6.8 | **2.90 ± 0.10** |" in text
    assert "![speech: quality against measured rate](plots/codec-speech.png)" in text
    assert "# Quantizers on speech frames" in text


def test_text_is_escaped(folder, rates_json):
    for place in (rates_json, rates_json["codec"], rates_json["protocols"]["speech"]["pesq"]):
        place["title" if place is rates_json else "model" if "model" in place else "description"] = EVIL
    rates_json["notes"] = [EVIL]
    rates_json["rows"][0]["system"] = rates_json["values"][0]["system"] = EVIL
    page = write_report(with_rates(folder, rates_json)).read_text("utf-8")
    assert page.count("<script>") == 1
    assert "<script>alert" not in page.replace("&lt;", "")


def test_names_cannot_steer_the_terminal(folder, rates_json):
    evil = "a\x1b[2J\u202e"
    rates_json["title"] = rates_json["rows"][0]["system"] = rates_json["values"][0]["system"] = evil
    rates_json["notes"] = [evil]
    for protocol in rates_json["protocols"]["speech"].values():
        protocol["name"] = evil
    results = load_rate_results(with_rates(folder, rates_json))
    out = StringIO()
    with LiveRates(Console(file=out, width=200)) as live:
        live.update(evil, evil, 0, 1)
        live.print(results)
    assert not set(out.getvalue()) & set("\x1b\u202e")
    assert out.getvalue().count(r"a\x1b[2J\u202e") >= 5


def test_what_is_missing_is_named(folder, rates_json):
    (folder / rates_json["values"][0]["vqk"]).unlink()
    with pytest.raises(FileNotFoundError, match=r"0\.vqk does not exist, though rate_quality.json names it"):
        write_report(folder)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("rows", [{"kind": 3}], r"rate_quality.json: field rows\[0\].kind is 3, must be a string"),
        ("sounds", 1, "rate_quality.json: field sounds is 1, must be a list"),
        ("codec", {"model": "x"}, "rate_quality.json: field codec.weights is missing"),
    ],
)
def test_bad_fields_are_named(tmp_path, rates_json, place, value, message):
    (tmp_path / "rate_quality.json").write_text(json.dumps({**rates_json, place: value}), "utf-8")
    with pytest.raises(ValueError, match=message):
        load_rate_results(tmp_path)


def test_files_outside_the_folder_are_refused(tmp_path, rates_json):
    rates_json["values"][0]["vqk"] = "../secret"
    (tmp_path / "rate_quality.json").write_text(json.dumps(rates_json), "utf-8")
    with pytest.raises(
        ValueError, match=r"field values\[0\].vqk is '../secret', must be a path relative to the folder"
    ):
        load_rate_results(tmp_path)


def row(name, kbps, value, half):
    return RateRow(
        "speech", name, name.split()[0], kbps, kbps, kbps, 3, {"m": Interval(value, value - half, value + half, 3)}
    )


def test_marks_hold_the_bytes_equal_at_most():
    rows = [
        row("A 1", 1, 5.0, 0.1),
        row("B 4", 4, 4.0, 0.1),
        row("A 2", 2, 4.9, 0.1),
        row("B 8", 8, 6.0, 1),
        row("original", 0, 9, 0),
    ]
    for better, marks in (("higher", ["", "", "close", "best", ""]), ("lower", ["", "best", "best", "", ""])):
        columns = rate_columns(rows, {"m": Protocol("m", "", better, "", {})})
        assert [cell.mark for (cell,) in rate_cells(rows, columns)] == marks
    columns = rate_columns(rows, {"m": Protocol("m", "", None, "", {})})
    assert {cell.mark for (cell,) in rate_cells(rows, columns)} == {""}


def test_terminal(folder):
    file = StringIO()
    with LiveRates(Console(file=file)) as live:
        for done, sound in enumerate(["a", "a", "b"]):
            live.update(sound, "vqkit 3 kbps", done, 3)
    results = load_rate_results(folder)
    live.print(results)
    lines = [" ".join(line.split()) for line in file.getvalue().splitlines()]
    assert lines[:3] == ["coding a", "coding b", "STOI of speech is missing here"]
    assert "vqkit 6 kbps 5.80 6.80 *2.90" in lines
    assert "Opus 6 kbps 5.90 6.90 1.80" in lines
    assert len(rates_table(results, "speech", width=20).columns) == 4

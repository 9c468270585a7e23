import json
from io import StringIO

import pytest
from rich.console import Console

from vqkit.report import load_results, markdown_table, parse_system
from vqkit.report.live import LiveResults
from vqkit.report.modality import AUDIO, IMAGE
from vqkit.report.plots import PLOTS, write_plots
from vqkit.report.table import group_cells, table_columns


def test_reads_every_field(image_results_json, write_image_folder):
    results = load_results(write_image_folder(image_results_json))
    assert results.modality is IMAGE
    data = results.data
    assert (data.train_images, data.test_images, data.height, data.width) == (60000, 1000, 28, 28)
    assert data.settings == {"channels": 3}
    assert [(picture.name, picture.group, picture.width) for picture in results.examples][1] == (
        "test 1",
        "digit 1",
        28,
    )
    given, system = image_results_json["systems"][3], results.systems[3]
    assert system.rate.values == tuple(given["bpp"]["values"])
    assert system.rates["bits_per_image"].mean == 24 * 16
    assert system.rates["entropy_bpp"].mean == given["entropy_bpp"]["mean"]
    assert [point.rate for point in system.rate_curve] == [point["bpp"] for point in given["rate_curve"]]
    assert system.reconstructions["test 2"] == "images/3/2.png"


@pytest.mark.parametrize("modality", ["audio", None, "absent"])
def test_sounds_where_nothing_else_is_said(results_json, write_folder, modality):
    if modality != "absent":
        results_json["modality"] = modality
    assert load_results(write_folder(results_json)).modality is AUDIO


def test_segments(image_results_json):
    use = [parse_system(system, IMAGE).usage for system in image_results_json["systems"]]
    assert [[len(stage) for stage in usage.segments] for usage in use] == [[], [], [4], [2, 2]]
    image_results_json["systems"][3]["usage"]["pieces"].pop()  # three pieces of two stages are no segments
    assert parse_system(image_results_json["systems"][3], IMAGE).usage.segments == ()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("modality",), "smell", r'field modality is \'smell\', must be "audio", "image" or "video"'),
        (("data", "size"), [28], r"field data\.size is \[28\], must be a pair \[height, width\] in pixels"),
        (("data", "size"), 28, r"field data\.size is 28, must be a list"),
        (("data", "size", 1), 0, r"field data\.size\[1\] is 0, must be a whole number, at least 1"),
        (("data", "images", "train"), 1.5, r"field data\.images\.train is 1\.5, must be a whole number"),
        (("images", 1, "name"), "test 0", r"field images\[1\]\.name is 'test 0', must be a name that no earlier"),
        (("images", 0, "width"), "28", r"field images\[0\]\.width is '28', must be a whole number, at least 1"),
        (("images", 0, "original"), "../a.png", r"field images\[0\]\.original is .*must be a path relative"),
        (("systems", 0, "bits_per_image"), -1, r"field systems\[0\]\.bits_per_image is -1, must be a finite number"),
        (("systems", 1, "bpp", "mean"), "low", r"field systems\[1\]\.bpp\.mean is 'low', must be a number or null"),
        (("systems", 1, "rate_curve", 0, "bpp"), None, r"field systems\[1\]\.rate_curve\[0\]\.bpp is None, must be a"),
        (("systems", 0, "reconstructions"), {"test 0": "/x.png"}, r"reconstructions\.test 0 is .*path relative to"),
    ],
)
def test_errors_name_the_bad_field(image_results_json, tmp_path, path, value, message):
    holder = image_results_json
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    (tmp_path / "results.json").write_text(json.dumps(image_results_json))
    with pytest.raises(ValueError, match=f"^results.json: .*{message}"):
        load_results(tmp_path)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (("images",), "images"),
        (("data", "size"), r"data\.size"),
        (("data", "images", "test"), r"data\.images\.test"),
        (("images", 2, "height"), r"images\[2\]\.height"),
        (("systems", 0, "bpp"), r"systems\[0\]\.bpp"),
        (("systems", 0, "bits_per_image"), r"systems\[0\]\.bits_per_image"),
    ],
)
def test_errors_name_the_missing_field(image_results_json, tmp_path, path, field):
    holder = image_results_json
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    (tmp_path / "results.json").write_text(json.dumps(image_results_json))
    with pytest.raises(ValueError, match=f"^results.json: field {field} is missing$"):
        load_results(tmp_path)


def test_columns(image_results_json, write_image_folder):
    results = load_results(write_image_folder(image_results_json))
    columns = table_columns(results.protocols, results.systems, results.modality)
    assert [column.header for column in columns][:6] == [
        "codebook (floats) ↓", "bits per token", "bits per image", "rate (bpp)", "entropy rate (bpp)", "PSNR (dB) ↑",
    ]  # fmt: skip
    cells = group_cells(columns, results.systems[1:3])
    assert [cell.text for cell in cells[0][1:5]] == ["12", "192", "0.247", "0.220"]
    assert [cell.mark for cell in cells[0][1:5]] == [""] * 4


def test_without_optional_parts(image_results_json, write_image_folder):
    for system in image_results_json["systems"]:
        system.update(dict.fromkeys(("entropy_bpp", "loss_curve", "residual_energy", "pca", "rate_curve")))
        del system["reconstructions"]
    folder = write_image_folder(image_results_json)
    results = load_results(folder)
    assert list(results.systems[0].rates) == ["bits_per_image", "bpp"]
    assert "entropy" not in markdown_table(results).partition("## How")[0]
    assert [path.name for path in write_plots(results, folder)] == ["quality.png", "usage.png"]


def test_markdown(image_results_json, write_image_folder):
    text = markdown_table(load_results(write_image_folder(image_results_json)))
    assert "kbps" not in text
    assert "| bits per image | rate (bpp) |" in text
    assert "The rate in bpp, bits a pixel, is what the written bytes take" in text
    assert "Data: digits, 28×28 pixels; trained on 60,000 images, tested on 1,000 images." in text
    image_results_json["data"]["size"] = [24, 32]
    text = markdown_table(load_results(write_image_folder(image_results_json)))
    assert "Data: digits, 32 pixels wide, 24 high; trained" in text


def test_plots_are_over_bits_a_pixel(image_results_json, write_image_folder):
    folder = write_image_folder(image_results_json)
    results = load_results(folder)
    axes = PLOTS[0].figure(results).axes
    assert [panel.get_xlabel() for panel in axes] == ["measured rate (bits per pixel)"] * 3
    drawn = sorted({round(float(x), 6) for line in axes[0].lines for x in line.get_xdata()})
    assert round(results.systems[0].rate.mean, 6) in drawn
    bars = PLOTS[1].figure(results)
    assert len(bars.axes[0].patches) == 1 + 2 + 4 + 2 * 2  # a bar per segment
    assert [text.get_text() for text in bars.legends[0].get_texts()] == [f"stage or segment {i}" for i in (1, 2, 3, 4)]
    assert len(write_plots(results, folder)) == 5


def test_live_table(image_results_json):
    systems = image_results_json["systems"]
    rates = {system["name"]: system["bits_per_token"] for system in systems}
    file = StringIO()
    with LiveResults("Digits", rates, image_results_json["protocols"], Console(file=file), modality="image") as live:
        for system in systems[:3]:
            live.update(system["name"], "", system)
    lines = file.getvalue().splitlines()
    assert "kbps" not in file.getvalue()
    head = next(i for i, line in enumerate(lines) if line.strip().startswith("system"))
    assert "image" in "".join(lines[: head + 1])
    assert "bpp" in lines[head]
    row = next(line for line in lines if "PVQ 4×8" in line)
    assert row.split()[3:5] == ["192", "0.247"]
    assert next(line for line in lines if "PRVQ" in line).count("…") == 3 + 3 + 4


def test_live_table_names_an_unknown_modality():
    with pytest.raises(ValueError, match='field modality is \'smell\', must be "audio", "image" or "video"'):
        LiveResults("", {}, {}, modality="smell")


def test_use_by_segment_has_a_column(image_results_json, write_image_folder):
    results = load_results(write_image_folder(image_results_json))
    columns = {c.header: c for c in table_columns(results.protocols, results.systems, results.modality)}
    column = columns["by segment (%) ↑"]
    for system, node in zip(results.systems, image_results_json["systems"], strict=True):
        shares = [piece["usage"] for piece in node["usage"]["pieces"]]
        assert column.measure(system).mean == pytest.approx(100 * sum(shares) / len(shares))
    whole = [system for system in results.systems if not system.usage.segments]
    assert "by segment (%) ↑" not in [c.header for c in table_columns(results.protocols, whole, results.modality)]

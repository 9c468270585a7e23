from io import BytesIO

import pytest
from PIL import Image

from vqkit.report import load_results
from vqkit.report.palette import MARKERS, plot_label, stage_colours, system_looks
from vqkit.report.plots import PLOTS, write_plots


def _check(path):
    content = path.read_bytes()
    with Image.open(BytesIO(content)) as image:
        image.load()
        assert image.format == "PNG"
        assert 350 < image.width < 1600
        assert 200 < image.height < 2500
        assert len(image.getcolors(256)) > 5  # something is drawn
    assert 3_000 < len(content) < 300_000


def test_all_plots(report_path):
    paths = sorted((report_path.parent / "plots").iterdir())
    assert [path.name for path in paths] == sorted(f"{plot.name}.png" for plot in PLOTS)
    for path in paths:
        _check(path)


def test_draws_what_there_is(small_results_json, write_folder):
    for system in small_results_json["systems"]:
        system.update(loss_curve=None, residual_energy=None, pca=None, rate_curve=None, entropy_kbps=None)
        system["usage"]["stages"] = []
    folder = write_folder(small_results_json)
    assert [path.name for path in write_plots(load_results(folder), folder)] == ["quality.png", "usage.png"]


def test_paths_are_in_order(small_results_json, write_folder):
    folder = write_folder(small_results_json)
    paths = write_plots(load_results(folder), folder)
    assert [path.relative_to(folder).as_posix() for path in paths] == [f"plots/{plot.name}.png" for plot in PLOTS]


def test_one_system_with_an_awkward_name_and_nothing_measured(results_json, write_folder):
    system = results_json["systems"][0]
    results_json["systems"] = [system]
    system["name"] = "_cost $a$ of $\\frac{ " + "x" * 80
    system["metrics"]["pesq"] = {"mean": None, "std": None, "values": [None]}
    del system["metrics"]["stoi"]
    for point in system["rate_curve"]:
        point["metrics"]["mel"] = None
        point["metrics"].pop("stoi")
    system["residual_energy"] = [1.0, 0.0]  # zero has no logarithm
    folder = write_folder(results_json)
    for path in write_plots(load_results(folder), folder):
        _check(path)


def test_no_system_no_plots(results_json, write_folder):
    results_json["systems"], results_json["clips"] = [], []
    folder = write_folder(results_json)
    assert write_plots(load_results(folder), folder) == []


def test_looks_differ_and_do_not_depend_on_the_plot():
    names = [f"system {i}" for i in range(20)]
    looks = system_looks(names)
    assert len({(look.colour, look.marker) for look in looks.values()}) == 20
    assert all(look.svg_path == MARKERS[look.marker] for look in looks.values())
    assert system_looks(names)["system 7"] == looks["system 7"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("_a", " _a"),
        ("a\nb", "a b"),
        ("x" * 40, "x" * 35 + "…"),
        ("$1", r"\$1"),
        ("__$", r" __\$"),
        ("\x1b\u202e", r"\x1b\u202e"),
    ],
)
def test_labels(name, label):
    assert plot_label(name) == label


def test_stage_colours():
    assert len(set(stage_colours(8))) == 8
    assert len(stage_colours(1)) == 1

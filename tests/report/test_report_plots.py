from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from vqkit.report import load_results
from vqkit.report.palette import MARKERS, plot_label, stage_colours, system_looks
from vqkit.report.plots import PLOTS, write_plots
from vqkit.report.rates import rate_groups

FIGURES = {plot.name: plot.figure for plot in PLOTS}


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


def _points(axes):
    """Ends of all lines of a panel, as a set of (x, y)."""
    return {tuple(np.round(point, 9)) for line in axes.lines for point in line.get_xydata()}


def test_quality_is_drawn_over_the_rate(results_json, write_folder):
    results = load_results(write_folder(results_json))
    panels = FIGURES["quality"](results).axes
    assert len(panels) == len(results.protocols)
    for axes, (key, protocol) in zip(panels, results.protocols.items(), strict=True):
        assert axes.get_xlabel() == "measured rate (kbps)"
        assert axes.get_ylabel() == protocol.unit
        assert axes.get_title(loc="left").startswith(protocol.name)
        spots = [tuple(np.round(container[0].get_xydata()[0], 9)) for container in axes.containers]
        assert spots == [tuple(np.round((s.rate.mean, s.metrics[key].mean), 9)) for s in results.systems]
        for system in results.systems:
            for point in system.rate_curve:
                assert tuple(np.round((point.rate, point.metrics[key]), 9)) in _points(axes)


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [("loss", "step", "training loss"), ("residual_energy", "stages", "energy left")],
)
def test_curves_run_over_steps_and_stages(results_json, write_folder, name, x, y):
    results = load_results(write_folder(results_json))
    panels = FIGURES[name](results).axes
    groups = rate_groups(results.systems)
    assert [axes.get_xlabel() for axes in panels] == [x] * len(groups)
    assert panels[0].get_ylabel() == y
    for axes, group in zip(panels, groups, strict=True):
        assert len(axes.lines) == len(group.members)
        for line, system in zip(axes.lines, group.members, strict=True):
            node = next(node for node in results_json["systems"] if node["name"] == system.name)
            energy, curve = node["residual_energy"], node["loss_curve"]
            expected = (curve["steps"], curve["loss"]) if name == "loss" else (range(len(energy)), energy)
            np.testing.assert_allclose(line.get_xdata(), list(expected[0]))
            np.testing.assert_allclose(line.get_ydata(), list(expected[1]))


def test_usage_and_ecu_are_bars_of_their_own(results_json, write_folder):
    results = load_results(write_folder(results_json))
    usage, ecu = FIGURES["usage"](results).axes
    assert "usage" in usage.get_title(loc="left")
    assert "ECU" in ecu.get_title(loc="left")
    nodes = {node["name"]: node["usage"]["stages"] for node in results_json["systems"]}
    ordered = [use for group in rate_groups(results.systems) for system in group.members for use in nodes[system.name]]
    for axes, field in ((usage, "usage"), (ecu, "ecu")):
        assert [bar.get_width() for bar in axes.patches] == pytest.approx([100 * use[field] for use in ordered])
        middles = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]
        assert middles == sorted(middles)
        assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first system is at the top
    assert [use["usage"] for use in ordered] != [use["ecu"] for use in ordered]


def test_embeddings_and_codes_lie_on_their_axes(results_json, write_folder):
    results = load_results(write_folder(results_json))
    ordered = [system.name for group in rate_groups(results.systems) for system in group.members]
    for axes, name in zip(FIGURES["pca"](results).axes, ordered, strict=True):
        node = next(node for node in results_json["systems"] if node["name"] == name)["pca"]
        stages = [(np.array(stage["points"]), np.array(stage["used"])) for stage in node["codes"]]
        expected = [np.array(node["embeddings"]), *(p[~used] for p, used in stages), *(p[used] for p, used in stages)]
        drawn = [collection.get_offsets() for collection in axes.collections]
        assert len(drawn) == len(expected)
        for found, points in zip(drawn, expected, strict=True):
            np.testing.assert_allclose(found, points.reshape(-1, 2))

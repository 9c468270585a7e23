import json
import math

import pytest

from vqkit.report import load_results, parse_system


def test_reads_every_field(results_json, write_folder):
    results = load_results(write_folder(results_json))
    assert results.title == "Quantizers on speech frames"
    assert results.seeds == (0, 1, 2)
    assert results.budget == {"fit_vectors": 20000, "steps": 400}
    assert results.data.settings == {"sample_rate": 16000}
    assert results.protocols["mel"].parameters == {"bands": 64, "hop": 256}
    system = results.systems[2]
    assert system.name == "IVQ yin-yang 4×2"
    assert system.rate.values == tuple(results_json["systems"][2]["kbps"]["values"])
    assert len(system.usage.stages) == 4
    assert system.embeddings.shape == (400, 2)
    assert [point.stages for point in system.rate_curve] == [1, 2, 3, 4]


def test_ignores_unknown_fields(results_json, write_folder):
    results_json["later"] = 1
    results_json["systems"][0]["later"] = 2
    results_json["clips"][0]["later"] = 3
    assert len(load_results(write_folder(results_json)).systems) == 5


@pytest.mark.parametrize("remove", [False, True])
def test_optional_fields_may_be_null_or_absent(results_json, write_folder, remove):
    optional = ("entropy_kbps", "loss_curve", "residual_energy", "pca", "rate_curve", "reconstructions")
    for system in results_json["systems"]:
        for field in optional:
            if remove:
                del system[field]
            else:
                system[field] = None
    results_json["commit"] = None
    folder = write_folder(results_json)
    system = load_results(folder).systems[0]
    assert list(system.rates) == ["kbps"]
    assert system.embeddings is None
    assert (system.losses, system.residual_energy, system.rate_curve, system.pca_stages) == ((), (), (), ())
    assert system.reconstructions == {}


def test_what_was_not_measured_is_nan(results_json):
    results_json["systems"][0]["metrics"]["pesq"] = {"mean": None, "std": None, "values": [None, float("nan"), 2.0]}
    measure = parse_system(results_json["systems"][0]).metrics["pesq"]
    assert math.isnan(measure.mean)
    assert measure.values[2] == 2.0


def _at(document, path):
    for key in path[:-1]:
        document = document[key]
    return document, path[-1]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("systems", 1, "kbps", "mean"), "fast", r"field systems\[1\]\.kbps\.mean is 'fast', must be a number or null"),
        (
            ("systems", 0, "bits_per_token"),
            -1,
            r"field systems\[0\]\.bits_per_token is -1, must be a finite number, at least 0",
        ),
        (
            ("systems", 0, "codebook_floats"),
            1.5,
            r"field systems\[0\]\.codebook_floats is 1\.5, must be a whole number",
        ),
        (("systems", 0, "parameters"), True, r"field systems\[0\]\.parameters is True, must be a whole number"),
        (("systems", 1, "name"), "RVQ 2×64", r"field systems\[1\]\.name is 'RVQ 2×64', must be a name that no earlier"),
        (
            ("systems", 0, "usage", "stages", 1, "tokens"),
            None,
            r"usage\.stages\[1\]\.tokens is None, must be a whole number",
        ),
        (
            ("systems", 0, "loss_curve", "loss"),
            [1.0],
            r"field systems\[0\]\.loss_curve\.loss is \[1\.0\], must be a list as long",
        ),
        (
            ("systems", 0, "pca", "codes", 0, "used"),
            [True],
            r"pca\.codes\[0\]\.used is \[True\], must be a list as long as points",
        ),
        (
            ("systems", 0, "pca", "embeddings"),
            [[1, 2, 3]],
            r"pca\.embeddings is \[\[1, 2, 3\]\], must be a list of pairs",
        ),
        (
            ("systems", 0, "reconstructions"),
            {"a": "../../etc/passwd"},
            r"reconstructions\.a is .*must be a path relative to the folder",
        ),
        (
            ("clips", 0, "original"),
            "/etc/passwd",
            r"field clips\[0\]\.original is '/etc/passwd', must be a path relative",
        ),
        (("clips", 0, "sample_rate"), 0, r"field clips\[0\]\.sample_rate is 0, must be a whole number, at least 1"),
        (
            ("protocols", "mel", "better"),
            "more",
            r'field protocols\.mel\.better is \'more\', must be "higher", "lower" or null',
        ),
        (("budget", "seeds"), 3, r"field budget\.seeds is 3, must be a list"),
        (("backbone",), "frames", r"field backbone is 'frames', must be an object"),
        (("data", "train_seconds"), float("inf"), r"field data\.train_seconds is inf, must be a finite number"),
    ],
)
def test_errors_name_the_bad_field(results_json, tmp_path, path, value, message):
    holder, key = _at(results_json, path)
    holder[key] = value
    (tmp_path / "results.json").write_text(json.dumps(results_json))
    with pytest.raises(ValueError, match=f"^results.json: .*{message}"):
        load_results(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        ("title",),
        ("budget",),
        ("systems", 3, "metrics"),
        ("systems", 0, "usage", "pooled", "ecu"),
        ("data", "clips", "test"),
    ],
)
def test_errors_name_the_missing_field(results_json, tmp_path, path):
    holder, key = _at(results_json, path)
    del holder[key]
    (tmp_path / "results.json").write_text(json.dumps(results_json))
    with pytest.raises(ValueError, match=rf"results.json: field .*{key} is missing$"):
        load_results(tmp_path)


def test_errors_of_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="give the folder that vqkit compare wrote"):
        load_results(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ValueError, match="is not valid JSON: Expecting"):
        load_results(tmp_path)

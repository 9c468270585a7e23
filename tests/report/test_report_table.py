import dataclasses
import math

import pytest

from vqkit.report import load_results
from vqkit.report.rates import rate_groups
from vqkit.report.results import parse_protocols
from vqkit.report.systems import Measure, parse_system
from vqkit.report.table import group_cells, table_columns

PROTOCOLS = parse_protocols(
    {
        "si_sdr": {"name": "SI-SDR", "unit": "dB", "better": "higher", "description": "d"},
        "mse": {"name": "MSE", "unit": "", "better": "lower", "description": "d"},
        "bias": {"name": "bias", "unit": "", "better": None, "description": "d"},
    }
)


@pytest.fixture
def column(results_json):
    template = parse_system(results_json["systems"][0])

    def cells(key, *measures):
        """The cells of one metric for systems with these (mean, std); None for a system without the metric."""
        systems = [
            dataclasses.replace(
                template, metrics={} if m is None else {key: Measure(m[0], m[1], (m[0] - m[1], m[0] + m[1]))}
            )
            for m in measures
        ]
        columns = table_columns(PROTOCOLS, systems)
        index = [c.key for c in columns].index(key)
        return [row[index] for row in group_cells(columns, systems)]

    return cells


def test_best_is_the_highest_or_the_lowest(column):
    assert [cell.mark for cell in column("si_sdr", (5, 0.1), (9, 0.1), (7, 0.1))] == ["", "best", ""]
    assert [cell.mark for cell in column("mse", (5, 0.1), (9, 0.1), (7, 0.1))] == ["best", "", ""]
    assert [cell.mark for cell in column("bias", (5, 0.1), (9, 0.1))] == ["", ""]


def test_overlapping_spreads_are_close(column):
    assert [cell.mark for cell in column("si_sdr", (9.0, 0.2), (8.75, 0.1), (8.6, 0.1))] == ["best", "close", ""]


def test_equal_values_share_the_mark(column):
    assert [cell.mark for cell in column("si_sdr", (9.001, 0.0), (9.0, 0.0), (3.0, 0.0))] == ["best", "best", ""]
    assert [cell.mark for cell in column("si_sdr", (9.0, 0.0), (9.0, 0.0))] == ["", ""]


def test_a_system_alone_or_without_value_has_no_mark(column):
    assert column("si_sdr", (9.0, 0.1))[0].mark == ""
    empty, best, other = column("si_sdr", None, (2.0, 0.0), (1.0, 0.0))
    assert (empty.text, empty.mark, math.isnan(empty.value)) == ("–", "", True)
    assert (best.mark, other.mark) == ("best", "")
    assert column("si_sdr", (math.nan, math.nan), (2.0, 0.0))[0].text == "–"


@pytest.mark.parametrize(
    ("means", "texts"),
    [
        ([12.345, 9.876], ["12.3", "9.9"]),
        ([0.87654, 0.5], ["0.877", "0.500"]),
        ([-3.456, 2.0], ["−3.46", "2.00"]),
        ([12345.6, 3.2], ["12,345.6", "3.2"]),
        ([3.0, 4.0], ["3", "4"]),
        ([math.inf, 12.25], ["∞", "12.2"]),
        ([0.5, 0.0004], ["0.50000", "0.00040"]),
    ],
)
def test_digits(column, means, texts):
    assert [cell.text for cell in column("si_sdr", *((mean, 0.0) for mean in means))] == texts


def test_spread_is_shown_where_values_vary(column):
    varying, fixed = column("si_sdr", (12.34, 0.21), (9.0, 0.0))
    assert (varying.spread, fixed.spread) == ("12.3 ± 0.2", "9.0")


def test_marks_stay_within_the_group(results_json, write_folder):
    results = load_results(write_folder(results_json))
    columns = table_columns(results.protocols, results.systems)
    index = [column.key for column in columns].index("si_sdr")
    for group in rate_groups(results.systems):
        cells = [row[index] for row in group_cells(columns, group.members)]
        best = max(group.members, key=lambda system: system.metrics["si_sdr"].mean)
        expected = [system.name == best.name and len(group.members) > 1 for system in group.members]
        assert [cell.mark == "best" for cell in cells] == expected


def test_columns(results_json, write_folder):
    results = load_results(write_folder(results_json))
    headers = [column.header for column in table_columns(results.protocols, results.systems)]
    assert headers[:4] == ["codebook (floats) ↓", "bits per token", "rate (kbps)", "entropy rate (kbps)"]
    assert headers[4:7] == ["SI-SDR (dB) ↑", "mel distance ↓", "STOI ↑"]
    assert headers[-3:] == ["usage (%) ↑", "ECU (%) ↑", "time (×) ↓"]

import numpy as np
import pytest
from scipy import stats

from vqkit.evaluate.codecs import MP3, Opus
from vqkit.evaluate.rate_quality import Judged
from vqkit.evaluate.rate_rows import Goal, mean_interval, rate_rows, verdict
from vqkit.report.results import Protocol

PROTOCOLS = {
    "pesq": Protocol("PESQ", "MOS", "higher", "", {}),
    "mel_distance": Protocol("mel distance", "", "lower", "", {}),
    "rate": Protocol("rate", "", None, "", {}),
}


def judged(system, pesq, mel=(1.0, 2.0), seconds=(2.0, 6.0), sizes=(1000, 5000)):
    return [
        Judged(
            system, f"s{i}", "speech", seconds[i], sizes[i], sizes[i] + 100, {"pesq": pesq[i], "mel_distance": mel[i]}
        )
        for i in range(2)
    ]


def test_interval_is_the_percentile_bootstrap():
    values = np.random.default_rng(1).gamma(2.0, size=60)
    found = mean_interval(list(values))
    other = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10000, rng=np.random.default_rng(2))
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(tuple(other.confidence_interval), abs=0.02)
    assert mean_interval(list(values)) == found  # the same draws each time
    with pytest.raises(ValueError, match="values is empty"):
        mean_interval([])


def test_rates_are_all_bits_over_all_seconds():
    (row,) = rate_rows(judged("Opus 8 kbps", (3.0, 4.0)), {"speech": [Opus(8), MP3(16)]})
    assert (row.system, row.family, row.asked_kbps, row.sounds) == ("Opus 8 kbps", "Opus", 8, 2)
    assert row.kbps == pytest.approx(8 * 6000 / 8 / 1000)
    assert row.file_kbps == pytest.approx(8 * 6200 / 8 / 1000)
    assert row.metrics["pesq"].mean == 3.5


def test_what_was_not_scored_is_not_counted():
    (row,) = rate_rows(judged("Opus 8 kbps", (3.0, None), mel=(None, None)), {"speech": [Opus(8)]})
    assert (row.metrics["pesq"].mean, row.metrics["pesq"].count) == (3.0, 1)
    assert "mel_distance" not in row.metrics


def test_a_goal_in_numbers():
    found = verdict(Goal("speech", "pesq", "A", 3.5), judged("A", (3.0, 4.0)), PROTOCOLS)
    assert (found.left, found.right, found.met, found.relation, found.rival) == (3.5, 3.5, True, "≥", "3.5")
    assert not verdict(Goal("speech", "pesq", "A", 3.5, strictly=True), judged("A", (3.0, 4.0)), PROTOCOLS).met
    assert not verdict(Goal("speech", "pesq", "A", 3.6), judged("A", (3.0, 4.0)), PROTOCOLS).met


def test_a_goal_against_a_system_is_paired():
    values = judged("A", (3.0, 4.0), mel=(0.5, 1.5)) + judged("B", (2.9, 3.9), mel=(1.0, 2.0))
    found = verdict(Goal("speech", "pesq", "A", "B"), values, PROTOCOLS)
    assert found.advantage.mean == pytest.approx(0.1)
    assert found.advantage.low == pytest.approx(found.advantage.high) == pytest.approx(0.1)  # on every sound alike
    lower = verdict(Goal("speech", "mel_distance", "A", "B", strictly=True), values, PROTOCOLS)
    assert (lower.met, lower.relation) == (True, "<")
    assert lower.advantage.mean == pytest.approx(0.5)  # less is better


def test_only_sounds_that_both_have_count():
    values = judged("A", (3.0, 4.0)) + judged("B", (None, 5.0))
    found = verdict(Goal("speech", "pesq", "A", "B"), values, PROTOCOLS)
    assert (found.left, found.right, found.advantage.count, found.met) == (4.0, 5.0, 1, False)


def test_what_was_not_measured_has_no_verdict():
    found = verdict(Goal("speech", "pesq", "A", "Codec2 3.2 kbps"), judged("A", (3.0, 4.0)), PROTOCOLS)
    assert (found.left, found.advantage, found.met) == (None, None, None)


@pytest.mark.parametrize("metric", ["rate", "stoi"])
def test_a_goal_needs_a_direction(metric):
    with pytest.raises(ValueError, match=f"no goal can be set for '{metric}'; metrics with a direction: pesq"):
        verdict(Goal("speech", metric, "A", 1.0), judged("A", (3.0, 4.0)), PROTOCOLS)

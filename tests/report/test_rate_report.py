import pytest

from vqkit.report.figures import png_bytes
from vqkit.report.rate_curves import rate_curves_figure
from vqkit.report.rate_rows import Interval, RateRow, Verdict
from vqkit.report.rate_table import goal_table, protocol_list, rate_table
from vqkit.report.results import Protocol

PROTOCOLS = {
    "dnsmos": Protocol("DNSMOS", "MOS", "higher", "of the estimate alone", {"score": "ovrl"}),
    "si_sdr": Protocol("SI-SDR", "dB", "higher", "ratio", {}),
    "never": Protocol("never", "", "lower", "measured on nothing", {}),
}


def row(family, kbps, dnsmos, si_sdr, count=4):
    metrics = {
        "dnsmos": Interval(dnsmos, dnsmos - 0.1, dnsmos + 0.1, 4),
        "si_sdr": Interval(si_sdr, si_sdr - 2, si_sdr + 2, count),
    }
    return RateRow("speech", f"{family} {kbps:g} kbps", family, kbps, 0.95 * kbps, 1.1 * kbps, 4, metrics)


ROWS = [
    row("original", 256, 3.0, 100),
    row("a|b", 3, 2.5, -4.0, count=3),
    row("a|b", 6, 2.7, 1.5),
    row("Opus", 8, 2.6, 2),
]


def test_table_cells():
    lines = rate_table(ROWS, PROTOCOLS).splitlines()
    assert lines[0] == "| codec | packets (kbps) | file (kbps) | DNSMOS (MOS) ↑ | SI-SDR (dB) ↑ |"
    assert lines[3] == r"| a\|b 3 kbps | 2.85 | 3.3 | 2.50 ± 0.10 | −4.00 ± 2.00 (3) |"
    assert len({line.count("|") - line.count(r"\|") for line in lines}) == 1


def test_verdicts():
    lines = goal_table(
        [
            Verdict("speech", "PESQ", "A", "≥", "2.6", 2.9, 2.6, Interval(0.3, 0.2, 0.4, 40), True),
            Verdict("music", "mel", "A", "<", "B", 1.6, 1.5, Interval(-0.1, -0.3, 0.1, 20), False),
            Verdict("speech", "PESQ", "A", ">", "Codec2", None, None, None, None),
        ]
    ).splitlines()
    assert lines[2] == "| speech | PESQ of A ≥ 2.6 | 2.90 | 2.60 | +0.30 (+0.20 … +0.40) | met, clearly |"
    assert lines[3] == "| music | mel of A < B | 1.60 | 1.50 | −0.10 (−0.30 … +0.10) | **not met**, not clearly |"
    assert lines[4] == "| speech | PESQ of A > Codec2 | – | – | – | not measured |"


def test_protocols_have_their_parameters():
    first, second, _ = protocol_list(PROTOCOLS).splitlines()
    assert first == "- **DNSMOS**; higher is better: of the estimate alone. Parameters: score = ovrl."
    assert second == "- **SI-SDR**; higher is better: ratio."


def test_a_curve_for_each_family_and_a_panel_for_each_metric():
    figure = rate_curves_figure(ROWS, PROTOCOLS)
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["DNSMOS ↑", "SI-SDR ↑"]
    data = [[tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2] for axes in figure.axes]
    assert (0.95 * 3, 0.95 * 6) in data[0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a|b", "Opus"]
    dotted = [line for axes in figure.axes for line in axes.lines if line.get_linestyle() == ":"]
    assert [line.get_ydata()[0] for line in dotted] == [3.0]  # the recordings' own score, where there is one
    assert png_bytes(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("rows", [[], ROWS[:1]])
def test_nothing_measured_gives_no_figure(rows):
    assert rate_curves_figure(rows, PROTOCOLS) is None

from io import StringIO

from rich.console import Console

from vqkit.report import LiveRow, load_results, results_table
from vqkit.report.live import LiveResults


def _lines(table, width=200):
    console = Console(width=width, record=True, file=StringIO(), color_system=None)
    console.print(table)
    return [line.rstrip() for line in console.export_text().splitlines() if line.strip()]


def test_finished_running_and_waiting_rows(results_json, write_folder):
    results = load_results(write_folder(results_json))
    rows = [LiveRow.finished(system) for system in results.systems[:3]]
    rows += [LiveRow("RVQ 4×64", 24.0, progress="seed 2/3, step 100"), LiveRow("RVQ 8×64", 48.4)]
    lines = _lines(results_table(rows, results.protocols, title="Speech"))
    assert lines[0].strip() == "Speech"
    at = {
        name: i for i, line in enumerate(lines) for name in (row.name for row in rows) if line.strip().startswith(name)
    }
    assert "SI-SDR" in "".join(lines[:4])
    assert "30,720" in lines[at["RVQ 2×64"]]
    assert "…" not in lines[at["IVQ yin-yang 4×2"]]
    assert lines[at["RVQ 4×64"] + 1].split("…")[0].strip() == "seed 2/3, step 100"
    assert lines[at["RVQ 8×64"]].count("…") == 2 + 6 + 3
    headings = [line.strip() for line in lines if line.strip().endswith("bits/token")]
    assert headings == ["12–12.1 bits/token", "24 bits/token", "48.4 bits/token"]


def test_marks_need_no_colour(results_json, write_folder):
    results = load_results(write_folder(results_json))
    text = "\n".join(
        _lines(results_table([LiveRow.finished(system) for system in results.systems], results.protocols, spread=True))
    )
    assert "*" in text
    assert "±" in text
    assert "best of its rate group" in text


def test_all_waiting():
    lines = _lines(results_table([LiveRow("a", 12.0), LiveRow("b [red]", 12.0)], {}))
    assert any("b [red]" in line for line in lines)  # a name is no markup


def test_numbers_are_never_cut(results_json, write_folder):
    results = load_results(write_folder(results_json))
    lines = _lines(
        results_table([LiveRow.finished(system) for system in results.systems], results.protocols), width=100
    )
    ratio = f"{results.systems[1].train_time_ratio.mean:.2f}"
    assert any(ratio in line for line in lines)


def test_names_cannot_steer_the_terminal(results_json, write_folder):
    evil, harmless = "a\x1b[2J\u202e", r"a\x1b[2J\u202e"
    results_json["systems"][0]["name"] = evil
    for protocol in results_json["protocols"].values():
        protocol.update(name=evil)
    results = load_results(write_folder(results_json))
    rows = [*map(LiveRow.finished, results.systems), LiveRow(f"{evil}b", 48.4, progress=evil)]
    out = StringIO()
    console = Console(width=300, file=out, color_system=None)
    console.print(results_table(rows, results.protocols, title=evil))
    with LiveResults(evil, {evil: 3.0}, {}, console) as live:
        live.update(evil, evil, None)
    assert not set(out.getvalue()) & set("\x1b\u202e")
    assert out.getvalue().count(harmless) >= 5

import re

from vqkit.report import load_results, markdown_table


def _rows(text, heading):
    block = text.split(f"## {heading}\n\n")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block.splitlines()]


def test_a_table_per_rate_group(results_json, write_folder):
    text = markdown_table(load_results(write_folder(results_json)))
    headings = [line for line in text.splitlines() if line.endswith("per token")]
    assert headings == ["## 12–12.1 bits per token", "## 24 bits per token", "## 48.4 bits per token"]
    for heading, names in (("12–12.1 bits per token", ["RVQ 2×64", "PVQ 2×64"]), ("48.4 bits per token", ["RVQ 8×64"])):
        rows = _rows(text, heading)
        assert [row[0] for row in rows[2:]] == names
        assert {len(row) for row in rows} == {1 + 4 + 6 + 3}


def test_bold_within_the_group_only(results_json, write_folder):
    text = markdown_table(load_results(write_folder(results_json)))
    assert not any("**" in cell for cell in _rows(text, "48.4 bits per token")[2])  # alone in its group
    column = [row[5] for row in _rows(text, "24 bits per token")]
    assert column[0] == "SI-SDR (dB) ↑"
    means = [float(re.sub(r"[*≈]", "", cell).split("±")[0]) for cell in column[2:]]
    assert ["**" in cell for cell in column[2:]] == [mean == max(means) for mean in means]
    assert all("±" in cell for cell in column[2:])


def test_one_seed_has_no_spread(results_json, write_folder):
    for system in results_json["systems"]:
        for measure in [
            system["kbps"],
            system["train_time_ratio"],
            *system["metrics"].values(),
            system["entropy_kbps"],
        ]:
            measure["values"] = measure["values"][:1]
    text = markdown_table(load_results(write_folder(results_json)))
    assert "±" not in text.split("## How to read it")[0]


def test_says_how_it_was_measured(results_json, write_folder):
    text = markdown_table(load_results(write_folder(results_json)))
    assert (
        "- **mel distance**; lower is better: Mean absolute difference of log-mel spectrograms. Parameters: bands = 64, hop = 256."
        in text
    )
    assert "```\nvqkit compare recipes/compare.yaml --seeds 0,1,2\n```" in text
    assert "commit abc1234, vqkit 0.1.0, torch 2.13.0" in text
    assert "trained on 6.88 min (31 clips), tested on 65.2 s (9 clips)" in text
    assert "Budget: fit vectors 20,000, steps 400." in text


def test_summary_leaves_out_what_is_empty_and_cuts_digests(small_results_json, write_folder):
    small_results_json["budget"]["repeat_only"] = []
    small_results_json["data"].update(groups=[], fingerprint={"train": "0123456789abcdef" * 4})
    small_results_json["systems"][0]["kbps"]["values"] = [1.0]
    text = markdown_table(load_results(write_folder(small_results_json)))
    assert (
        "Budget: fit vectors 20,000, steps 400. Data settings: sample rate 16,000, fingerprint {train: 0123456789ab…}."
        in text
    )
    assert "Each system ran with 2 seeds (0, 1), some with fewer." in text


def test_names_are_escaped(results_json, write_folder):
    results_json["systems"][0]["name"] = "a|b *c* <script> `d`\nnext"
    results_json["command"] = "echo ```"
    text = markdown_table(load_results(write_folder(results_json)))
    assert "| a\\|b \\*c\\* &lt;script&gt; \\`d\\` next |" in text
    assert "````\necho ```\n````" in text

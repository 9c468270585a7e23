"""What a run prints: lines in a log, one line that fits a terminal, and where it goes on."""

import io
import os
import re

import pytest
import torch

from vqkit import RVQ
from vqkit.models import ConvBackbone, ImageTokenizer
from vqkit.training import ImageDataModule, ImageModule, train
from vqkit.training.runs.progress import ProgressLines, progress_line


@pytest.fixture
def run(blob_images, tmp_path):
    def call(steps, **options):
        torch.manual_seed(0)
        tokenizer = ImageTokenizer(ConvBackbone(6, width=4, residual_width=2, residual_blocks=1), RVQ(6, 4, 2))
        data = ImageDataModule(str(blob_images), size=8, batch_size=2)
        settings = {"print_every": 2, "validate_every": 4, "save_every": 2, "accelerator": "cpu"} | options
        return train(ImageModule(tokenizer), data, folder=str(tmp_path / "run"), steps=steps, **settings)

    return call


def test_a_log_has_lines_and_says_where_a_run_goes_on(run, capsys):
    run(4)
    lines = capsys.readouterr().out.splitlines()
    assert [re.match(r"step (\d)/4 \(\d+ %\), [\d.e+]+ steps/s", line)[1] for line in lines if line[0] == "s"] == list(
        "124"
    )
    assert re.search(r"; .*l1 [\d.]+", lines[0])
    assert re.fullmatch(r"validation after step 4: mae [\d.]+, psnr [\d.]+", lines[-1])
    run(7)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "resuming from step 4 of 7"
    assert [line.split()[1] for line in lines if line.startswith("step")] == ["5/7", "6/7", "7/7"]
    run(8, progress=False)
    assert capsys.readouterr().out == ""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_one_line_that_fits(run, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **__: os.terminal_size((200, 24)))
    monkeypatch.setattr("vqkit.training.runs.run.ProgressLines.refresh_seconds", 0)
    run(3, validate_every=100)
    shown = terminal.getvalue()
    assert shown.count("\r") == 2
    assert all(len(line) < 80 for line in re.split("[\r\n]", shown))
    assert [line.split()[1] for line in re.split("[\r\n]", shown) if line.startswith("step")] == ["1/3", "2/3", "3/3"]


@pytest.mark.parametrize("columns", [20, 40, 60, 80])
def test_a_line_never_wraps(columns):
    metrics = {f"a_long_name_{number}": 1234.5678 for number in range(9)}
    line = progress_line(123456, 1000000, 0.00321, metrics, columns)
    assert len(line) < columns
    assert line.startswith("step 123456/1000")


def test_bad_numbers_of_steps():
    with pytest.raises(ValueError, match="print_every must be at least 1, got 0"):
        ProgressLines(0)

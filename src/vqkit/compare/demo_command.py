"""``vqkit demo``: which codec; all else is ``vqkit compare``'s."""

from argparse import ArgumentError, ArgumentParser
from pathlib import Path

import torch

from vqkit.compare import command
from vqkit.evaluate.codec_demo import CodecDemo, codec_demo
from vqkit.report import load_rate_results
from vqkit.report.rate_live import LiveRates

__all__ = ["main", "parse"]

_PRESET = Path(__file__).parent / "presets" / "demo.yaml"


def main(argv: list[str]) -> int:
    """Judge the codec, then compare the quantizers, in one report; exit code 0."""
    what, rest = parse(argv)
    comparison, out = command.parse(["--config", str(_PRESET), *rest])
    shown = " ".join(["vqkit demo", *argv])
    if comparison.threads:
        torch.set_num_threads(comparison.threads)
    live = LiveRates()
    with live:
        codec_demo(what, out, shown, live.update)
    rates = load_rate_results(out)
    assert rates is not None, out  # codec_demo has just written them
    live.print(rates)
    return command.finish(comparison, out, shown)


def parse(argv: list[str]) -> tuple[CodecDemo, list[str]]:
    """Read the command line.

    Args:
        argv: the arguments after ``demo``.

    Returns:
        What the codec is to do, and the arguments that are left for ``vqkit compare``.

    Raises:
        ValueError: ``--model`` names no folder.

    Example:
        >>> what, rest = parse(["--out", "here"])
        >>> what.model is None, rest
        (True, ['--out', 'here'])
    """
    parser = ArgumentParser(
        prog="vqkit demo",
        description="The shipped codec at four rates beside Opus, then the quantizers compared, on the clips that ship with vqkit.",
        epilog="Further options are those of vqkit compare, such as --out FOLDER; vqkit compare --help lists them.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="a saved codec; the one that ships with vqkit by default"
    )
    try:
        asked, rest = parser.parse_known_args(argv)
    except ArgumentError as error:
        raise ValueError(str(error)) from None
    if asked.model is not None and not asked.model.is_dir():
        raise ValueError(f"--model {asked.model} is not a folder of a saved codec")
    return CodecDemo(model=asked.model), rest

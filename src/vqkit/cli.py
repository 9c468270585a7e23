"""The command line: parse, call, print. ``vqkit COMMAND --help`` lists the flags of each command.

Errors are one line that says what is wrong and what is allowed; exit code 2 for usage and bad input, 130 after Ctrl-C.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from vqkit.types import need

__all__ = ["main"]

COMMANDS = {
    "demo": "the shipped codec beside Opus, then the quantizers compared, on clips that ship here; a few minutes, no arguments",
    "compare": "N quantizers × M seeds on one backbone, one data set, one budget → table, plots, report with players",
    "train": "train a neural codec from a YAML recipe",
    "encode": "sound and images to .vqk files: one, a folder or a pipe, at a chosen rate or size",
    "decode": ".vqk files to sound and images",
    "fit-prior": "probabilities of a model's codes, saved beside its weights: smaller .vqk files",
    "export": "a codec as ONNX: encoder and decoder",
    "serve": "a page: drop a sound, hear and see what a codec makes of it, take the .vqk file",
    "inspect": "what is in .vqk files: model, rates, chunks, damage",
    "thin": "a .vqk file at a lower rate, without decoding it",
}


_SOUND = ("soundfile", "torch_mdct")  # what a comparison on sound needs


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        The exit code.
    """
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(import_module("vqkit").__version__)
        return 0
    name, rest = argv[0], argv[1:]
    if name not in COMMANDS:
        return _fail(f"unknown command {name!r}; known: {', '.join(COMMANDS)}")
    try:
        return _command(name)(rest)
    except (ValueError, TypeError, ImportError, OSError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: vqkit COMMAND [options]", "", *lines, "", "vqkit COMMAND --help lists the options of a command."]
    )


def _fail(message: str) -> int:
    print(f"vqkit: {message.splitlines()[0] if message else 'failed'}", file=sys.stderr)
    return 2


def _command(name: str) -> Callable[[list[str]], int]:
    if name == "train":
        need("lightning", "train")
        found: Callable[[list[str]], int] = import_module("vqkit.training.command").main
        return found
    if name in ("encode", "decode"):
        for package in ("transformers", "constriction"):  # each kind of file asks for its own
            need(package, "audio")
        coding: Callable[[list[str]], int] = getattr(import_module("vqkit.coding.command"), f"main_{name}")
        return coding
    if name in ("fit-prior", "export"):
        for package in ("transformers", "constriction"):
            need(package, "audio")
        made: Callable[[list[str]], int] = getattr(
            import_module("vqkit.models.command"), f"main_{name.replace('-', '_')}"
        )
        return made
    if name == "serve":
        served: Callable[[list[str]], int] = import_module("vqkit.serve.command").main
        return served
    if name in ("inspect", "thin"):
        need("constriction", "audio")
        command: Callable[[list[str]], int] = getattr(import_module("vqkit.bitstream.command"), f"main_{name}")
        return command
    return _demo if name == "demo" else _compare


def _demo(argv: list[str]) -> int:
    _need_comparison()
    for package in (*_SOUND, "av"):
        need(package, "audio")
    what, rest = import_module("vqkit.compare.demo_command").parse(argv)
    preset = Path(import_module("vqkit.compare").__file__ or "").parent / "presets" / "demo.yaml"
    comparison, out = import_module("vqkit.compare.command").parse(["--config", str(preset), *rest])
    shown = " ".join(["vqkit demo", *argv])
    if comparison.threads:
        import_module("torch").set_num_threads(comparison.threads)
    live = import_module("vqkit.report.rate_live").LiveRates()
    with live:
        import_module("vqkit.compare.codec_demo").codec_demo(what, out, shown, live.update)
    live.print(import_module("vqkit.report").load_rate_results(out))
    return _finish(comparison, out, shown)


def _compare(argv: list[str]) -> int:
    _need_comparison()
    what, out = import_module("vqkit.compare.command").parse(argv)
    for package in _SOUND if what.backbone.modality == "audio" else ():
        need(package, "audio")
    return _finish(what, out, " ".join(["vqkit compare", *argv]))


def _need_comparison() -> None:
    need("jsonargparse", "eval")
    for package in ("rich", "torchmetrics", "matplotlib", "constriction", "transformers"):
        need(package, "eval")


def _finish(what: Any, out: Path, shown: str) -> int:
    """Compare, write the report and say where it is."""
    command = import_module("vqkit.compare.command")
    report = import_module("vqkit.report")
    live = import_module("vqkit.report.live")
    backbone = what.backbone
    with live.LiveResults(what.title, command.rates(what), backbone.protocols, modality=backbone.modality) as table:
        folder = command.compare(what, out, shown, table.update)
    page = report.write_report(folder)
    print(f"report:  {page}\ntable:   {folder / 'report.md'}\nresults: {folder / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

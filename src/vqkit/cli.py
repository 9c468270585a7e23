"""The command line: one table lists every command once; each is imported when it is run. ``vqkit COMMAND --help`` lists its flags.

Errors are one line that says what is wrong and what is allowed; exit code 2 for usage and bad input, 130 after Ctrl-C.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from vqkit.types import check_installed

__all__ = ["COMMANDS", "Command", "main"]


@dataclass(frozen=True)
class Command:
    """A command of ``vqkit``.

    Attributes:
        summary: what it does, in one line of ``vqkit --help``.
        function: where it lives, ``"module:function"``; it takes the arguments after the command's name and returns the exit code.
        packages: what must be installed for any use of it, each with the extra of vqkit that brings it. What only some inputs need is
            checked where it is used.
    """

    summary: str
    function: str
    packages: tuple[tuple[str, str], ...] = ()

    def load(self) -> Callable[[list[str]], int]:
        """The function, imported now.

        Raises:
            ImportError: a package is missing; the message names the extra.
        """
        for package, extra in self.packages:
            check_installed(package, extra)
        module, _, name = self.function.partition(":")
        found: Callable[[list[str]], int] = getattr(import_module(module), name)
        return found


_FILES = (("constriction", "audio"), ("huggingface_hub", "audio"))
_COMPARISON = tuple(
    (package, "eval")
    for package in ("jsonargparse", "rich", "torchmetrics", "matplotlib", "constriction", "transformers")
)

COMMANDS = {
    "demo": Command(
        "the shipped codec beside Opus, then the quantizers compared, on clips that ship here; a few minutes, no arguments",
        "vqkit.compare.demo_command:main",
        (*_COMPARISON, ("soundfile", "audio"), ("torch_mdct", "audio"), ("av", "audio")),
    ),
    "compare": Command(
        "N quantizers × M seeds on one backbone, one data set, one budget → table, plots, report with players",
        "vqkit.compare.command:main",
        _COMPARISON,
    ),
    "train": Command(
        "train a codec or an image tokenizer from a YAML recipe",
        "vqkit.training.command:main",
        (("lightning", "train"),),
    ),
    "encode": Command(
        "sound and images to .vqk files: one, a folder or a pipe, at a chosen rate or size",
        "vqkit.coding.command:main_encode",
        _FILES,
    ),
    "decode": Command(".vqk files to sound and images", "vqkit.coding.command:main_decode", _FILES),
    "inspect": Command(
        "what is in .vqk files: model, rates, chunks, damage", "vqkit.bitstream.command:main_inspect", _FILES[:1]
    ),
    "thin": Command(
        "a .vqk file at a lower rate, without decoding it", "vqkit.bitstream.command:main_thin", _FILES[:1]
    ),
    "fit-prior": Command(
        "probabilities of a model's codes, saved beside its weights: smaller .vqk files",
        "vqkit.models.command:main_fit_prior",
        _FILES,
    ),
    "export": Command("a codec as ONNX: encoder and decoder", "vqkit.models.command:main_export", _FILES),
    "serve": Command(
        "a page: drop a sound, hear and see what a codec makes of it, take the .vqk file", "vqkit.serve.command:main"
    ),
    "completion": Command("completion of this command line for bash, zsh or fish", "vqkit.completion:main"),
}


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
        return COMMANDS[name].load()(rest)
    except (ValueError, TypeError, ImportError, OSError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: vqkit COMMAND [options]",
            "",
            *lines,
            "",
            "vqkit COMMAND --help lists the options of a command; vqkit --version prints the version.",
        ]
    )


def _fail(message: str) -> int:
    print(f"vqkit: {message.splitlines()[0] if message else 'failed'}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

"""Command line: one table lists every command once; each is imported when it is run. ``vqkit COMMAND --help`` lists its flags.

Errors are one line that says what is wrong and what is allowed; exit code 2 for usage and bad input. What ended otherwise has the
shell's codes: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, 141 where nobody reads the output any more.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib import import_module

from vqkit.terminal import printable, steady_streams
from vqkit.types import check_installed

__all__ = ["COMMANDS", "Command", "main"]

_SIGPIPE = 13


@dataclass(frozen=True)
class Command:
    """A command of ``vqkit``.

    Attributes:
        summary: purpose of the command, in one line of ``vqkit --help``.
        function: entry point, ``"module:function"``; it takes the arguments after the command's name and returns the exit code.
        packages: what must be installed for any use of it, each with the extra of vqkit that brings it. What only some inputs need is
            checked where it is used.
        hears_signals: whether the command itself handles the signals that ask the process to end.
    """

    summary: str
    function: str
    packages: tuple[tuple[str, str], ...] = ()
    hears_signals: bool = False

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
_PRETRAINING = (("lightning", "train"), ("transformers", "audio"), ("matplotlib", "eval"))

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
        hears_signals=True,  # Lightning does, and writes a checkpoint
    ),
    "pretrain": Command(
        "pretrain an encoder on unlabelled sound, images or video from a YAML recipe (BRIDLE)",
        "vqkit.pretraining.command:main_pretrain",
        _PRETRAINING,
        hears_signals=True,
    ),
    "probe": Command(
        "how much of your labels a linear layer reads off a pretrained encoder",
        "vqkit.pretraining.command:main_probe",
        _PRETRAINING,
    ),
    "finetune": Command(
        "train a pretrained encoder on your labels", "vqkit.pretraining.command:main_finetune", _PRETRAINING
    ),
    "encode": Command(
        "sound and images to .vqk files: one, a folder or a pipe, at a chosen rate or size",
        "vqkit.coding.command:main_encode",
        _FILES,
    ),
    "decode": Command(".vqk files to sound and images", "vqkit.coding.command:main_decode", _FILES),
    "generate": Command(
        "images of a class, or music for a video, from tokens",
        "vqkit.generate.command:main",
        (*_FILES, ("transformers", "image")),
    ),
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
    "tokenize": Command(
        "a corpus (folders, tars, Parquet, datasets, scp lists) to token files, on all cores; resumable",
        "vqkit.tokenize.command:main",
        (*_FILES, ("pyarrow", "image")),
    ),
    "doctor": Command(
        "what is wrong with a model's quantizer on a folder of sound or images, why, and what a change would gain",
        "vqkit.diagnosis.command:main",
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
    leave = bool(argv) and argv[0] in COMMANDS and COMMANDS[argv[0]].hears_signals
    with steady_streams(), nullcontext() if leave else _terminations():
        try:
            code = _run(argv)
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where what goes wrong can still be said
            return code
        except SystemExit:  # of argparse, which has printed something
            _forget_output()
            raise
        except BrokenPipeError:  # who read the output has seen enough
            _forget_output()
            return 128 + _SIGPIPE
        except (ValueError, TypeError, ImportError, OSError) as error:
            _forget_output()
            return _fail(str(error))
        except (KeyboardInterrupt, _Terminated) as end:
            number = end.number if isinstance(end, _Terminated) else signal.SIGINT
            with suppress(OSError):  # the terminal may be gone
                word = "interrupted" if number == signal.SIGINT else "terminated"
                print(f"{word}; what was finished is kept", file=sys.stderr)
            return 128 + number


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(import_module("vqkit").__version__)
        return 0
    name, rest = argv[0], argv[1:]
    if name not in COMMANDS:
        return _fail(f"unknown command {name!r}; known: {', '.join(COMMANDS)}")
    return COMMANDS[name].load()(rest)


class _Terminated(BaseException):
    """Exception raised when a signal asks the process to end, so that unfinished files are removed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _terminations() -> Iterator[None]:
    """Turn the signals that would end the process on the spot into an exception, unless somebody asked for them."""
    asked = []
    if threading.current_thread() is threading.main_thread():  # only that may ask
        for number in (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")):
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _terminate)
                asked.append(number)
    try:
        yield
    finally:
        for number in asked:
            if signal.getsignal(number) in (_terminate, signal.SIG_IGN):
                signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # the way out is not interrupted again
    raise _Terminated(number)


def _forget_output() -> None:
    """Keep Python from writing at its end what cannot be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


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
    lines = [line.strip() for line in message.split("\n") if line.strip()]
    with suppress(OSError):
        print(f"vqkit: {printable(' '.join(lines)) or 'failed'}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

"""``vqkit train``: a YAML file describes the run, and every argument of every class in it is a flag too.

vqkit train --config recipes/codec-tiny.yaml --model.codec.num_filters 16 --folder runs/wide
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from vqkit.differences import first_difference
from vqkit.files import write_whole
from vqkit.recipe import check_recipes
from vqkit.terminal import printable
from vqkit.training.runs.run import train
from vqkit.training.runs.seeding import seed_generators

__all__ = ["main"]

_DESCRIPTION = (
    "Train a model. Classes are named by class_path, their arguments are in init_args; --config may hold all of it."
)


def main(
    argv: Sequence[str] | None = None,
    prog: str = "vqkit train",
    afterwards: Callable[[Path], None] | None = None,
) -> int:
    """Run the command.

    Args:
        argv: arguments, without the program's name; those of the process by default.
        prog: name of the command, for its messages.
        afterwards: what the first rank does with the folder of a run that has ended well.

    Returns:
        Exit status: 0 done, 1 training failed, 2 bad arguments or input, 130 stopped by SIGTERM or Ctrl-C. Errors are one line on stderr.
    """
    parser = build_parser(prog)
    try:
        words = sys.argv[1:] if argv is None else list(argv)
        check_recipes(words)
        _refuse_nothing_to_train(words)
        config = parser.parse_args(words)
        _refuse_another_run(parser, config)
        seed_generators(config.seed)
        objects = parser.instantiate(config)
        if int(os.environ.get("RANK", 0)) == 0:
            _save(parser, config)
        model = train(**{name: value for name, value in vars(objects).items() if name != "config"})
        if afterwards is not None and int(os.environ.get("RANK", 0)) == 0:
            afterwards(Path(config.folder))
    except (ArgumentError, ValueError, TypeError, ImportError, OSError) as error:
        return _complain(prog, error, 2)
    except RuntimeError as error:
        return _complain(prog, error, 1)
    except KeyboardInterrupt as error:
        return _complain(prog, error, 130)
    if int(os.environ.get("RANK", 0)) == 0:
        if objects.model.usage_advice is not None:
            print(f"usage: {printable(objects.model.usage_advice)}")
        print(f"trained model: {printable(model)}")  # last: scripts take the path from there
    return 0


def build_parser(prog: str = "vqkit train") -> ArgumentParser:
    """The parser: flags of `vqkit.training.train`, with ``model`` and ``data`` as classes."""
    parser = ArgumentParser(prog=prog, description=_DESCRIPTION, exit_on_error=False)
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file; flags after it override it; it is code: class_path imports modules",
    )
    parser.add_function_arguments(train)
    return parser


def _described(parser: ArgumentParser, config: Namespace) -> dict[str, Any]:
    """The configuration without the path of its file."""
    text = parser.dump(config, skip_unset=False)
    described: dict[str, Any] = yaml.safe_load(text)
    described.pop("config", None)
    return described


def _save(parser: ArgumentParser, config: Namespace) -> None:
    write_whole(
        Path(config.folder) / "config.yaml", yaml.safe_dump(_described(parser, config), sort_keys=False).encode()
    )


def _refuse_nothing_to_train(words: Sequence[str]) -> None:
    """Without a recipe, flags of model and data belong to no class, which the parser says in words of its own."""
    if words and not any(word.startswith(("--config", "--model", "--print", "--help", "-h")) for word in words):
        raise ValueError("--config RECIPE is missing: a YAML file that says what to train, such as those in recipes/")


def _refuse_another_run(parser: ArgumentParser, config: Namespace) -> None:
    """A checkpoint goes on only with the model and data it was made with."""
    folder = Path(config.folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--folder must be a folder, {folder} is a file")
    if config.resume != "last" or not (folder / "last.safetensors").is_file() or not (folder / "config.yaml").is_file():
        return
    before, now = yaml.safe_load((folder / "config.yaml").read_text()), _described(parser, config)
    for part in ("model", "data", "seed", "average_decay"):
        change = first_difference(before.get(part), now.get(part), part)
        if change:
            raise ValueError(
                f"{folder} holds a run with {change}; choose another --folder, or --resume no to start anew"
            )


def _complain(prog: str, error: BaseException, status: int) -> int:
    print(f"{prog}: {printable(' '.join(str(error).split()))}", file=sys.stderr)
    return status

"""Command-line arguments that `vqkit encode` and `vqkit decode` share."""

import argparse

from vqkit.data import MAX_MEGAPIXELS

__all__ = ["add_options", "add_places"]


def add_places(parser: argparse.ArgumentParser, source: str, target: str) -> None:
    """Source and target: a file each, a folder each, or a pipe.

    Args:
        parser: parser to add the arguments to.
        source: description of a source, for the help.
        target: description of a target, for the help.
    """
    parser.add_argument("source", help=f"{source}; a folder of such; or - for standard input")
    parser.add_argument(
        "target",
        nargs="?",
        help=f"{target}; for a folder a folder, which gets the same tree; or - for standard output; beside the source by default",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags about models, processes, targets that exist, and what is printed."""
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="PATH",
        help="folder of a saved codec or image tokenizer, once for each kind; by default those that ship",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="files at once, each by a process of one thread"
    )
    parser.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_MEGAPIXELS,
        metavar="N",
        help=f"refuse images of more than N million pixels ({MAX_MEGAPIXELS:g}); a header's word is enough",
    )
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument("-f", "--force", action="store_true", help="overwrite targets that exist")
    existing.add_argument(
        "--skip-existing", action="store_true", help="leave out files whose targets exist: go on after an interruption"
    )
    parser.add_argument("--quiet", action="store_true", help="print only warnings and errors")
    parser.add_argument("--json", action="store_true", help="one JSON object a file, and for a folder one of the total")

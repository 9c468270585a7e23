"""``vqkit compare``: expressions, flags and YAML to a `Comparison`."""

import re
from importlib import import_module
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser, Namespace

import vqkit.compare.backbones
from vqkit.allowance import MAX_FLOATS
from vqkit.cache import read_json
from vqkit.compare.backbone import Backbone
from vqkit.compare.dataset import Dataset
from vqkit.compare.runner import Comparison, compare
from vqkit.modality import SOUND
from vqkit.quantize.usage import advice
from vqkit.recipe import check_recipes
from vqkit.report import write_report
from vqkit.report.live import LiveResults
from vqkit.terminal import printable
from vqkit.types import check_installed

__all__ = ["compare", "finish", "main", "parse", "rates"]

_EXAMPLE = """Example:
  vqkit compare 'IVQ(dim)' 'RVQ(dim, 64, 4)' 'mine = Residual([VQ(dim, 64), FSQ(dim, [5, 5, 5])])' --backbone frames"""

_DEFAULT = "vqkit.compare.backbones.frames.Backbone"


def main(argv: list[str]) -> int:
    """Compare, write the report and print where it is; exit code 0."""
    what, out = parse(argv)
    for package in ("soundfile", "torch_mdct") if what.backbone.modality is SOUND else ():
        check_installed(package, "audio")
    return finish(what, out, " ".join(["vqkit compare", *argv]))


def finish(what: Comparison, out: Path, shown: str) -> int:
    """Compare with a live table, write the report and print where it is.

    Args:
        what: the comparison.
        out: folder of the results.
        shown: the command, for the report.

    Returns:
        The exit code, 0.
    """
    backbone = what.backbone
    if line := backbone.measures.left_out():
        print(f"metrics: {line}")
    with LiveResults(what.title, rates(what), backbone.measures.protocols, modality=backbone.modality.name) as table:
        folder = compare(what, out, shown, table.update)
    page = write_report(folder)
    for line in few_codes(what, folder):
        print(f"usage:   {printable(line)}")
    print(f"report:  {page}\ntable:   {folder / 'report.md'}\nresults: {folder / 'results.json'}")
    return 0


def few_codes(what: Comparison, folder: Path) -> list[str]:
    """A line for each system that uses few of its codes on the test data, with what to change."""
    rows = (read_json(folder / "results.json") or {}).get("systems", [])
    lines = []
    for row in rows:
        quantizer, pieces = what.quantizer(row["name"]), row["usage"]["pieces"]
        used = [round(piece["usage"] * piece["codebook_size"]) for piece in pieces]
        line = advice(quantizer, used, [piece["tokens"] for piece in pieces])
        lines += [] if line is None else [f"{row['name']}: {line}"]
    return lines


def parse(argv: list[str]) -> tuple[Comparison, Path]:
    """Read the command line.

    Args:
        argv: expressions first (``EXPRESSION`` or ``NAME = EXPRESSION``), then flags; ``--config FILE`` reads YAML; flags override it, and
            an expression that of a row of the same name.

    Returns:
        The comparison and the folder to write to.

    Raises:
        ValueError: anything that does not fit, in one line.
    """
    check_recipes(argv)
    count = next((i for i, word in enumerate(argv) if word.startswith("-")), len(argv))
    words, flags = argv[:count], [_spelt_out(word, argv[count:][:i]) for i, word in enumerate(argv[count:])]
    made = _made(flags)
    if made is None:
        made = _made([f"--backbone={_DEFAULT}", *flags], last=True)
    assert made is not None
    return _comparison(made, words), Path(made.out)


def _made(flags: list[str], last: bool = False) -> Namespace | None:
    """Build what the flags describe; None if they name no backbone. A default in the parser would lend its values to other backbones."""
    try:
        values = _parser().parse_args(flags)
        return _parser().instantiate(values) if values.backbone is not None else None
    except ArgumentError as error:
        if last or any(flag.startswith("--backbone=") for flag in flags):
            raise ValueError(" ".join(str(error).split())) from None
        return None


def rates(what: Comparison) -> dict[str, float]:
    """Bits a token of every system."""
    return {name: what.quantizer(name).bits_per_vector for name in what.systems}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="vqkit compare", description=__doc__, epilog=_EXAMPLE, exit_on_error=False)
    parser.add_argument(
        "--config",
        action="config",
        help="YAML with any of the values below; it is code: class_path imports modules",
    )
    parser.add_argument(
        "--systems", type=dict[str, str], default={}, help="name of each row → expression of its quantizer"
    )
    parser.add_subclass_arguments(
        Backbone, "backbone", required=False, help=f"what is trained; {_DEFAULT} if none is named"
    )
    parser.add_class_arguments(Dataset, "data")
    parser.add_argument("--seeds", type=list[int], default=[0, 1, 2], help="one run each")
    parser.add_argument(
        "--repeat_only", type=list[str], default=[], help="rows that run all seeds; the others run the first"
    )
    parser.add_argument("--only", type=list[str], default=[], help="rows to run; all if none is named")
    parser.add_argument("--title", type=str, default="Quantizers compared", help="title of the report")
    parser.add_argument("--listen", type=int, default=3, help="clips or images whose reconstructions are kept")
    parser.add_argument("--threads", type=int, default=0, help="number of torch threads; 0 keeps torch's default")
    parser.add_argument(
        "--import_from",
        type=str,
        nargs="+",
        default=[],
        help="packages whose quantizers expressions may name; to import one is to run its code",
    )
    parser.add_argument(
        "--max_floats", type=int, default=MAX_FLOATS, help="most values that the tensors of a quantizer may hold"
    )
    parser.add_argument(
        "--out", type=str, default="runs/compare", help="folder of the results; finished runs in it are used again"
    )
    return parser


def _spelt_out(word: str, before: list[str]) -> str:
    """Expand ``--backbone frames``, which names the file, to the import path of its class, which the parser needs."""
    flag, separator, value = word.partition("=")
    name = value if flag == "--backbone" else word if before[-1:] == ["--backbone"] else ""
    if not re.fullmatch(r"\w+", name):
        return word
    folder = Path(vqkit.compare.backbones.__file__ or "").parent
    known = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    if name not in known:
        raise ValueError(
            f"unknown backbone {name!r}; known: {', '.join(known)}, or the import path of a subclass of Backbone"
        )
    path = f"{import_module(f'vqkit.compare.backbones.{name}').__name__}.Backbone"
    return f"{flag}={path}" if separator else path


def _comparison(made: Namespace, words: list[str]) -> Comparison:
    given = dict[str, str]()
    for word in words:
        # a name with "=" in it ends at the first " = "
        match = re.fullmatch(r"(?:([^(]*?)\s+=\s+|([^=(]*?)\s*=\s*)?(.*)", word, re.DOTALL)
        spaced, tight, text = match.groups()  # type: ignore[union-attr]
        name = spaced or tight or text
        if name in given:
            raise ValueError(f"two rows are named {name}: {given[name]} and {text}; NAME = EXPRESSION names a row")
        given[name] = text
    systems = {**made.systems, **given}
    unknown = set(made.only) - set(systems)
    if unknown:
        raise ValueError(f"only names {', '.join(sorted(unknown))}; the systems are {', '.join(systems)}")
    if made.only:
        systems = {name: text for name, text in systems.items() if name in made.only}
    return Comparison(
        systems=systems,
        backbone=made.backbone,
        data=made.data,
        seeds=tuple(made.seeds),
        repeat_only=tuple(name for name in made.repeat_only if name in systems or not made.only),
        title=made.title,
        listen=made.listen,
        threads=made.threads,
        import_from=tuple(made.import_from),
        max_floats=made.max_floats,
    )

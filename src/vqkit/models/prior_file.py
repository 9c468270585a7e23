"""The file in which a codec's prior lies beside its weights: the tables as docs/vqk.md describes them, without anything around them."""

from collections.abc import Sequence
from pathlib import Path

from vqkit.bitstream import EntropyModel, read_tables
from vqkit.files import write_whole

__all__ = ["PRIOR_FILE", "read_prior", "save_prior"]

PRIOR_FILE = "prior.vqe"
_MAX_BYTES = 1 << 26  # the priors that ship have some 100 kB


def save_prior(folder: str | Path, prior: EntropyModel | None) -> None:
    """Write a prior beside a codec's weights, or remove the one that is there."""
    path = Path(folder) / PRIOR_FILE
    if prior is None:
        path.unlink(missing_ok=True)
    else:
        write_whole(path, prior.to_bytes())


def read_prior(folder: str | Path, code_sizes: Sequence[int]) -> EntropyModel | None:
    """Read a codec's prior; None where there is none.

    Args:
        folder: folder of the saved codec.
        code_sizes: alphabet sizes of its quantizer.

    Raises:
        ValueError: the file is no prior, or one for other codes.
    """
    path = Path(folder) / PRIOR_FILE
    if not path.is_file():
        return None
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path} is not a prior: {path.stat().st_size} bytes, allowed are {_MAX_BYTES}")
    try:
        prior = read_tables(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not a prior: {error}") from None
    if prior.code_sizes != tuple(code_sizes):
        raise ValueError(f"{path} is for code sizes {prior.code_sizes}, this codec has {tuple(code_sizes)}")
    return prior

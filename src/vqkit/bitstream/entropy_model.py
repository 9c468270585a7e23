"""Which of the three codings a file has, and the tables it needs."""

from typing import Protocol

import numpy as np

from vqkit.bitstream.context_model import ContextModel
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.plain_codes import PlainCodes
from vqkit.bitstream.static_tables import StaticTables

__all__ = ["EntropyModel"]


class EntropyModel(Protocol):
    """Codes of a stage ↔ bytes: `PlainCodes`, `StaticTables` or `ContextModel`."""

    code_sizes: tuple[int, ...]

    @property
    def coding(self) -> str:
        """Its name in the header."""

    @property
    def tables_hash(self) -> str:
        """What a file calls these tables by; empty where there are none."""

    def encode(self, codes: np.ndarray, start: int, stop: int) -> bytes:
        """Bytes of codes ``start`` to ``stop`` − 1 of all frames."""

    def decode(self, data: bytes, known: np.ndarray, stop: int) -> np.ndarray:
        """These codes, given those before them."""

    def to_bytes(self) -> bytes:
        """The tables."""

    def first(self, num_codes: int) -> "EntropyModel":
        """The same for the first codes of a frame only: none depends on those behind it."""


def read_tables(data: bytes) -> StaticTables | ContextModel:
    """Read what `StaticTables.to_bytes` or `ContextModel.to_bytes` wrote.

    Raises:
        BitstreamError: the data are something else.
    """
    if data[:4] == StaticTables.magic:
        return StaticTables.from_bytes(data)
    if data[:4] == ContextModel.magic:
        return ContextModel.from_bytes(data)
    raise BitstreamError(f"not an entropy model: it begins with {data[:4]!r}")


def fitting(model: EntropyModel, code_sizes: tuple[int, ...]) -> EntropyModel:
    """The model, or its first codes, where it also has those that a file of a lower rate leaves out."""
    more = len(model.code_sizes) > len(code_sizes) and model.code_sizes[: len(code_sizes)] == code_sizes
    return model.first(len(code_sizes)) if more else model


def model_of(header: VqkHeader, given: EntropyModel | None) -> EntropyModel | None:
    """The entropy model of a file; None if it is needed and was not given.

    Raises:
        BitstreamError: the given or the stored one is not that of the file.
    """
    if header.coding == "plain":
        return PlainCodes(header.code_sizes)
    model = None if given is None else fitting(given, header.code_sizes)
    if header.tables:
        try:
            model = read_tables(header.tables)
        except ValueError as error:
            raise BitstreamError(f"the stored probability tables are not valid: {error}") from None
    if model is None:
        return None
    found, wanted = (model.coding, model.tables_hash), (header.coding, header.tables_hash)
    if found != wanted:
        raise BitstreamError(
            f"the codes were written with the {wanted[0]} tables {wanted[1]} of model {header.model!r}, "
            f"not with the {found[0]} tables {found[1]}"
        )
    if model.code_sizes != header.code_sizes:
        raise BitstreamError("the probability tables are for other code sizes than the header states")
    return model

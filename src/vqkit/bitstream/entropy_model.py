"""Which of the four codings a file has, and the tables it needs."""

from typing import Protocol

import numpy as np

from vqkit.bitstream.context_model import ContextModel
from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.header import VqkHeader
from vqkit.bitstream.network_model import NetworkModel
from vqkit.bitstream.plain_codes import PlainCodes
from vqkit.bitstream.static_tables import StaticTables

__all__ = ["EntropyModel"]

_STILL_FRAMES = 1 << 12


class EntropyModel(Protocol):
    """Codes of a stage ↔ bytes: `PlainCodes`, `StaticTables`, `ContextModel` or `NetworkModel`."""

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


def read_tables(data: bytes) -> StaticTables | ContextModel | NetworkModel:
    """Read what ``to_bytes`` of `StaticTables`, `ContextModel` or `NetworkModel` wrote.

    Raises:
        BitstreamError: the data are something else.
    """
    if data[:4] == StaticTables.magic:
        return StaticTables.from_bytes(data)
    if data[:4] in ContextModel.magics:
        return ContextModel.from_bytes(data)
    if data[:4] in NetworkModel.magics:
        return NetworkModel.from_bytes(data)
    raise BitstreamError(f"not an entropy model: it begins with {data[:4]!r}")


def fitting(model: EntropyModel, header: VqkHeader) -> EntropyModel:
    """The model on the file's grid; only its first codes, where it also has those that a file of a lower rate leaves out."""
    sizes = header.code_sizes
    if len(model.code_sizes) > len(sizes) and model.code_sizes[: len(sizes)] == sizes:
        model = model.first(len(sizes))
    return model.on_grid(header.columns) if isinstance(model, ContextModel | NetworkModel) else model


def encoded_frames(model: EntropyModel, codes: np.ndarray, start: int, stop: int, places: np.ndarray) -> bytes:
    """Bytes of codes of some frames of a chunk, those that have them; ``places`` in the chunk, which matter to contexts on a grid."""
    if isinstance(model, ContextModel):
        return model.encode(codes, start, stop, places)
    return model.encode(codes, start, stop)


def decoded_frames(model: EntropyModel, data: bytes, known: np.ndarray, stop: int, places: np.ndarray) -> np.ndarray:
    """The codes of `encoded_frames`.

    Raises:
        BitstreamError: the data are none of these.
    """
    if isinstance(model, ContextModel):
        return model.decode(data, known, stop, places)
    return model.decode(data, known, stop)


def largest_chunk(model: EntropyModel, header: VqkHeader) -> int:
    """The most frames that a chunk of this header with this model may hold, at least 1."""
    most = header.largest_chunk
    if isinstance(model, ContextModel | NetworkModel):
        return max(1, min(most, model.most_frames(header.stage_ends)))
    return most


def usual_chunk(header: VqkHeader, most: int) -> int:
    """Frames of a chunk, of at most so many: a second; without time about 4096, in an image whole rows of cells."""
    if header.frame_rate:
        return max(1, min(round(header.frame_rate), most))
    usual, row = min(_STILL_FRAMES, most), header.columns or 1
    return usual // row * row if row <= usual else min(row, most)


def model_of(header: VqkHeader, given: EntropyModel | None) -> EntropyModel | None:
    """The entropy model of a file; None if it is needed and was not given.

    Raises:
        BitstreamError: the given or the stored one is not that of the file.
    """
    if header.coding == "plain":
        return PlainCodes(header.code_sizes)
    model = None if given is None else fitting(given, header)
    if header.tables:
        try:
            model = fitting(read_tables(header.tables), header)
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

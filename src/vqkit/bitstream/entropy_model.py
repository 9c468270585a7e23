"""Choice of a file's entropy model among the four codings, and the reading of its tables."""

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
    """Lossless coding of a stage's codes as bytes: `PlainCodes`, `StaticTables`, `ContextModel` or `NetworkModel`."""

    code_sizes: tuple[int, ...]

    @property
    def coding(self) -> str:
        """Name of the coding in the header."""

    @property
    def tables_hash(self) -> str:
        """Hash by which a file names its entropy tables; empty where it has none."""

    def encode(self, codes: np.ndarray, start: int, stop: int) -> bytes:
        """Encode codes ``start`` to ``stop`` − 1 of all frames; codes: (frames, at least ``stop``) int64."""

    def decode(self, data: bytes, known: np.ndarray, stop: int) -> np.ndarray:
        """Decode codes up to ``stop`` − 1, given the earlier codes ``known``, (frames, start): (frames, stop − start) int64."""

    def to_bytes(self) -> bytes:
        """Write the tables as bytes."""

    def first(self, num_codes: int) -> "EntropyModel":
        """Return the model of the first codes of a frame only: no code depends on later ones."""


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
    """Return the usual number of frames in a chunk, within a limit: a second; without time about 4096, in an image whole rows of cells."""
    if header.frame_rate:
        return max(1, min(round(header.frame_rate), most))
    usual, row = min(_STILL_FRAMES, most), header.columns or 1
    return usual // row * row if row <= usual else min(row, most)


def model_of(header: VqkHeader, given: EntropyModel | None) -> EntropyModel | None:
    """Return the entropy model of a file; None if it needs one that was not given.

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

"""Header of a ``.vqk`` file: all that it states before its first chunk.

    magic  version  length of body  body = core, notes  CRC-32 of all before it

The core is what decoding depends on; its CRC-32, the stream id, starts the checksum of every record, so that a chunk of another stream is
never taken for one of this. The notes are for people.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from vqkit.bitstream.errors import BitstreamError
from vqkit.bitstream.fields import FieldReader, block_bytes, number_bytes, runs_bytes
from vqkit.bitstream.header_checks import HASH_BYTES, TABLES_HASH_BYTES, check_numbers, check_texts
from vqkit.bitstream.limits import (
    FORMAT_VERSION,
    MAX_CHUNK_CODES,
    MAX_CHUNK_FRAMES,
    MAX_CODE_SIZE,
    MAX_CODES,
    MAX_COUNT,
    MAX_COUNT_WORK,
    MAX_DIMENSION,
    MAX_DIMENSIONS,
    MAX_HEADER_BYTES,
    MAX_METADATA,
    MAX_RATE,
)
from vqkit.modality import IMAGE, Modality, modality_of_size
from vqkit.stages import stage_bits, stage_ends

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["VqkHeader"]

MAGIC = b"\x89VQK"
CODINGS = ("plain", "static", "context", "network")
_NEWER = {"network": 2}  # codings that came after version 1
_COUNTS_VERSION = 3  # brought frames with their own numbers of stages
_COUNTED = 1  # how these numbers are coded; there is one way


@dataclass(frozen=True)
class VqkHeader:
    """The header of a ``.vqk`` file: a sequence of frames, each of as many codes as ``code_sizes`` names.

    In sound a frame is a hop. In an image it is a cell of the grid, row by row; in a video so is each picture. What ``coding``,
    ``tables_hash`` and ``tables`` say is set by `VqkWriter`.

    A file with ``variable_stages`` is of format version 3, one of the coding ``"network"`` of version 2, and every other of version 1.

    Args:
        code_sizes: alphabet of each code of a frame, 1 … 2^32; at most 1024 of them.
        codes_per_stage: number of consecutive codes in each stage; one by default.
        sample_rate: sample rate of the sound in Hz; of video a thousand times its frames a second, so that a frame has 1000 samples; 0
            where there is no time.
        hop_samples: samples between frames, or between pictures of codes, which stand for several frames.
        channels: number of channels of the sound; 0 if it is none.
        grid: cells of a picture, such as (rows, columns); empty for sound.
        image_size: (height, width) in pixels; empty for sound.
        length: samples in all, if known beforehand; `VqkWriter.close` can state it later.
        model: name of the model that decodes.
        model_hash: hash of its weights, hexadecimal, at most 32 bytes; empty if not stated.
        licence: licence of the content.
        metadata: free text by name, at most 256 entries.
        coding: ``"plain"``, ``"static"``, ``"context"`` or ``"network"``.
        tables_hash: hash of the entropy model, 16 bytes in hexadecimal.
        tables: the entropy model itself, if it is stored here.
        variable_stages: whether every frame has its own number of stages, as ``quantizer.encode(z, rate_weight=…)`` gives them.

    Raises:
        ValueError: a field is out of range, or the header gets longer than 1 MiB.

    Example:
        >>> header = VqkHeader(code_sizes=(1024,) * 8, sample_rate=24000, hop_samples=320, channels=1)
        >>> header.frame_rate, header.rates_kbps[:2], len(header.to_bytes())
        (75.0, (0.75, 1.5), 34)
    """

    code_sizes: tuple[int, ...]
    codes_per_stage: tuple[int, ...] = ()
    sample_rate: int = 0
    hop_samples: int = 0
    channels: int = 0
    grid: tuple[int, ...] = ()
    image_size: tuple[int, ...] = ()
    length: int | None = None
    model: str = ""
    model_hash: str = ""
    licence: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    coding: str = "plain"
    tables_hash: str = ""
    tables: bytes = field(default=b"", repr=False)
    variable_stages: bool = False

    def __post_init__(self) -> None:
        for name in ("code_sizes", "codes_per_stage", "grid", "image_size"):
            object.__setattr__(self, name, tuple(int(value) for value in getattr(self, name)))
        if not self.codes_per_stage:
            object.__setattr__(self, "codes_per_stage", (1,) * len(self.code_sizes))
        check_numbers(self)
        check_texts(self, CODINGS)
        if len(self.to_bytes()) > MAX_HEADER_BYTES:
            raise ValueError(f"the header has {len(self.to_bytes())} bytes, allowed are {MAX_HEADER_BYTES}")

    @property
    def version(self) -> int:
        """Oldest version of the format that can express this header."""
        return _COUNTS_VERSION if self.variable_stages else _NEWER.get(self.coding, 1)

    @property
    def num_codes(self) -> int:
        """Number of codes in a frame."""
        return len(self.code_sizes)

    @property
    def num_stages(self) -> int:
        """Number of stages, which can be left out from the last on."""
        return len(self.codes_per_stage)

    @cached_property
    def stage_ends(self) -> tuple[int, ...]:
        """Index behind each stage's last code in a frame."""
        return stage_ends(self.codes_per_stage)

    @property
    def columns(self) -> int:
        """Cells of a row of the grid; 0 where it has no rows."""
        return self.grid[-1] if len(self.grid) > 1 else 0

    @property
    def frame_rate(self) -> float | None:
        """Frames a second; None where there is no time."""
        return self.sample_rate / self.hop_samples * math.prod(self.grid) if self.hop_samples else None

    @property
    def rates_kbps(self) -> tuple[float, ...]:
        """Rate of the first stage, of the first two and so on, before entropy coding and without what a file adds; empty without time."""
        return tuple(bits * self.frame_rate / 1000 for bits in self._stage_bits) if self.frame_rate else ()

    @property
    def pixels(self) -> int:
        """Number of pixels of an image; 0 if the file holds none."""
        return math.prod(self.image_size) if self.modality is IMAGE else 0

    @property
    def modality(self) -> Modality:
        """Modality of the coded signal."""
        return modality_of_size(self.sample_rate, self.image_size)

    @property
    def rates_bpp(self) -> tuple[float, ...]:
        """Rates of an image in bits a pixel, stage by stage as `rates_kbps`; empty if the file holds none."""
        cells = math.prod(self.grid)
        return tuple(bits * cells / self.pixels for bits in self._stage_bits) if self.pixels else ()

    @property
    def _stage_bits(self) -> tuple[float, ...]:
        """Bits per frame of the first stage, of the first two and so on."""
        return stage_bits(self.code_sizes, self.codes_per_stage)

    def stages_of(self, codes: Sequence[int]) -> int:
        """Stages that a frame holds.

        Args:
            codes: the frame's codes, −1 for those of stages that were dropped.
        """
        return 1 + self.stage_ends.index(sum(code >= 0 for code in codes))

    def most_stages(self, codes: "Tensor") -> int:
        """The most stages that a frame of a block holds; 0 if the block has no frames with codes.

        Args:
            codes: ``(frames, num_codes)``, −1 for those of stages that were dropped.
        """
        held = int((codes >= 0).sum(dim=1).max()) if len(codes) else 0
        return 1 + self.stage_ends.index(held) if held else 0

    @property
    def largest_chunk(self) -> int:
        """The most frames that a chunk may hold."""
        most = min(MAX_CHUNK_FRAMES, MAX_CHUNK_CODES // self.num_codes)
        return min(most, MAX_COUNT_WORK // (self.num_stages + 256)) if self.variable_stages else most

    @cached_property
    def stream_id(self) -> int:
        """CRC-32 of the core."""
        return zlib.crc32(self._core())

    def same_stream(self, other: "VqkHeader") -> bool:
        """Return whether both headers have equal cores, so that chunks under one may follow those under the other."""
        return self._core() == other._core()

    def to_bytes(self) -> bytes:
        """Write the header as it stands in a file."""
        body = block_bytes(self._core()) + self._notes()
        content = MAGIC + bytes([self.version]) + block_bytes(body)
        return content + zlib.crc32(content).to_bytes(4, "little")

    def _core(self) -> bytes:
        lists = (self.code_sizes, self.codes_per_stage, self.grid, self.image_size)
        numbers = (self.sample_rate, self.hop_samples, self.channels, CODINGS.index(self.coding))
        blocks = (bytes.fromhex(self.model_hash), bytes.fromhex(self.tables_hash), self.tables)
        counted = [number_bytes(_COUNTED)] if self.variable_stages else []
        return b"".join([*map(runs_bytes, lists), *map(number_bytes, numbers), *map(block_bytes, blocks), *counted])

    def _notes(self) -> bytes:
        texts = [self.model, self.licence, *(text for entry in self.metadata.items() for text in entry)]
        length = 0 if self.length is None else self.length + 1
        numbers = number_bytes(length) + number_bytes(len(self.metadata))
        return numbers + b"".join(block_bytes(text.encode()) for text in texts)


def read_header(fields: FieldReader) -> VqkHeader:
    """Read and validate a header; ``fields`` stands at its first byte, and afterwards behind it.

    Raises:
        IncompleteError: it goes on behind the end of the data.
        BitstreamError: it is none, damaged, or of a newer version.
    """
    magic = fields.take(len(MAGIC))
    if magic != MAGIC:
        raise BitstreamError(f"not a vqk file: it begins with {magic!r}")
    version = fields.take(1)[0]
    newer = f"format version {version}, and this vqkit reads up to {FORMAT_VERSION}: a newer one is needed"
    size = fields.number("the length of the header", MAX_COUNT)
    if size > MAX_HEADER_BYTES:
        text = f"the header claims {size} bytes, allowed are {MAX_HEADER_BYTES}"
        raise BitstreamError(newer if version > FORMAT_VERSION else text)
    body = fields.take(size)
    checksum = zlib.crc32(MAGIC + bytes([version]) + block_bytes(body))
    if fields.word() != checksum:
        raise BitstreamError("the header is damaged: its checksum is wrong")
    if version > FORMAT_VERSION:
        raise BitstreamError(newer)
    try:
        header = _read_body(FieldReader(body), version)
    except ValueError as error:  # also where the body is too short: its length is known, so more bytes would not help
        raise BitstreamError(f"the header is not valid: {error}") from None
    if header.to_bytes() != MAGIC + bytes([version]) + block_bytes(body) + checksum.to_bytes(4, "little"):
        raise BitstreamError("the header is not valid: it is not spelt as this version spells it")
    return header


def _read_body(body: FieldReader, version: int) -> VqkHeader:
    core = FieldReader(body.block("the core", MAX_HEADER_BYTES))
    found: dict = {"code_sizes": core.runs("code_sizes", MAX_CODES, MAX_CODE_SIZE)}
    found["codes_per_stage"] = core.runs("codes_per_stage", MAX_CODES, MAX_CODES)
    found["grid"] = core.runs("grid", MAX_DIMENSIONS, MAX_DIMENSION)
    found["image_size"] = core.runs("image_size", MAX_DIMENSIONS, MAX_DIMENSION)
    for name in ("sample_rate", "hop_samples", "channels"):
        found[name] = core.number(name, MAX_RATE)
    found["coding"] = CODINGS[core.number("coding", len(CODINGS) - 1)]
    found["model_hash"] = core.block("model_hash", HASH_BYTES).hex()
    found["tables_hash"] = core.block("tables_hash", TABLES_HASH_BYTES).hex()
    found["tables"] = core.block("tables", MAX_HEADER_BYTES)
    if version >= _COUNTS_VERSION:
        found["variable_stages"] = core.number("the coding of stage counts", _COUNTED, least=_COUNTED) == _COUNTED
    core.finish("the core")
    length = body.number("length", MAX_COUNT)
    found["length"] = length - 1 if length else None
    entries = body.number("the number of metadata", MAX_METADATA)
    found["model"], found["licence"] = body.text("model"), body.text("licence")
    pairs = [(body.text("a name of metadata"), body.text("metadata")) for _ in range(entries)]
    found["metadata"] = dict(pairs)
    if len(found["metadata"]) != entries:
        raise BitstreamError("metadata has a name twice")
    body.finish("the header")
    return VqkHeader(**found)

"""Link between ``.vqk`` files and models: headers that name the model, and the check of which files a model may read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import torch
from torch import Tensor

from vqkit.bitstream import BitstreamError, EntropyModel, OtherModelError, VqkHeader, VqkReader, VqkWriter
from vqkit.counts import check_stages
from vqkit.models.identity import HasState, accepted_hashes, weight_hash
from vqkit.quantize import Product, Quantizer
from vqkit.quantize.wrapper import Wrapper
from vqkit.types import Bool, Int

__all__ = [
    "CodedSignal",
    "HasCodes",
    "ReadCells",
    "WrittenFile",
    "check_variable_stages",
    "header_of",
    "open_reader",
    "packed_codes",
    "read_cells",
    "unpacked_codes",
]


class HasCodes(HasState, Protocol):
    """Interface of a model that its files depend on: weights, quantizer, entropy model."""

    quantizer: Quantizer
    prior: EntropyModel | None


@dataclass(frozen=True)
class ReadCells:
    """Result of `read_cells`: codes of all cells of a picture or a video.

    Attributes:
        codes: codes of every cell; arbitrary where they are lost.
        lost: True where a cell's codes are lost.
        stages: largest number of stages in a cell.
        variable_stages: whether cells may have fewer.
        bytes: size of the file.
        warnings: what is damaged or missing.
    """

    codes: Int[Tensor, "cells num_codes"]
    lost: Bool[Tensor, " cells"]
    stages: int
    variable_stages: bool
    bytes: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class WrittenFile:
    """A ``.vqk`` file that was written.

    Attributes:
        bytes: size of the file.
        stages: largest number of stages that a frame or a cell has.
        variable_stages: whether others may have fewer.
    """

    bytes: int
    stages: int
    variable_stages: bool

    @classmethod
    def by(cls, writer: VqkWriter) -> Self:
        """The file of a writer that is closed."""
        return cls(writer.bytes_written, writer.stages, writer.header.variable_stages)


@dataclass(frozen=True)
class CodedSignal:
    """A signal as its file holds it.

    Attributes:
        codes: codes of all stages, frame by frame, or cell by cell and row by row; on the CPU.
        header: header of the file.
        extent: milliseconds of sound, or pixels of an image: bits by extent are the rate in the modality's unit.
    """

    codes: Int[Tensor, "positions num_codes"]
    header: VqkHeader
    extent: float


def header_of(model: HasCodes, stages: int | None, *, variable_stages: bool = False, **fields: Any) -> VqkHeader:
    """Return the header of a file of a model's codes, as `Quantizer.pack` gives them: a frame of the file is a block of positions.

    Args:
        model: model whose name and weights the header states.
        stages: stages that the file keeps; all by default.
        variable_stages: whether every position has its own number of stages.
        fields: further fields of the header, about the signal.

    Raises:
        ValueError: the quantizer gives codes to some positions only and cannot pack them, or, with variable_stages, chooses the stages of
            every piece of a vector by themselves; or there are not so many stages.
    """
    quantizer = model.quantizer
    if stages is not None:  # a slice would take what there is
        check_stages(stages, quantizer.num_stages, f"this {type(model).__name__}")
    if variable_stages:
        check_variable_stages(quantizer)
    codes_per_stage = tuple(quantizer.packed_per_stage[:stages])
    return VqkHeader(
        code_sizes=tuple(quantizer.packed_sizes[: sum(codes_per_stage)]),
        codes_per_stage=codes_per_stage,
        model=type(model).__name__,
        model_hash=weight_hash(model),
        variable_stages=variable_stages,
        **fields,
    )


def packed_codes(
    quantizer: Quantizer, codes: Int[Tensor, "1 num_codes *grid"]
) -> Int[Tensor, "positions packed_codes"]:
    """Codes of one signal as its file holds them: position by position, or block by block where there are codes of several scales."""
    return quantizer.pack(codes.movedim(1, -1))[0].flatten(end_dim=-2)


def unpacked_codes(
    quantizer: Quantizer, packed: Int[Tensor, "positions packed_codes"], grid: Sequence[int]
) -> Int[Tensor, "1 num_codes *grid"]:
    """The inverse of `packed_codes`, on a grid of positions."""
    blocks = [-(-side // quantizer.block) for side in grid]
    return quantizer.unpack(packed.long().unflatten(0, blocks)[None], grid).movedim(-1, 1)


def check_variable_stages(quantizer: Quantizer) -> None:
    """Refuse a quantizer whose stages a file cannot count position by position.

    Raises:
        ValueError: it has no stages to leave out, looks at neighbours, or chooses the stages of every piece of a vector by themselves.
    """
    inner = quantizer
    while isinstance(inner, Wrapper):
        inner = inner.quantizer
    if isinstance(inner, Product) and inner.num_stages > 1:
        raise ValueError(
            f"{type(quantizer).__name__} chooses the stages of every piece of a vector by themselves, and a file counts those of whole "
            "vectors: leave out rate_weight, or put the Product inside the stages of a Residual"
        )
    home = next(iter(quantizer.state_dict().values()), torch.zeros(0)).device
    quantizer.encode(
        torch.zeros(1, 1, quantizer.dim, dtype=torch.float32, device=home), rate_weight=0.0
    )  # raises where there is no such choice


def open_reader(model: HasCodes, source: str | Path | BinaryIO) -> VqkReader:
    """Open a file to decode it with a model.

    Raises:
        BitstreamError: not a vqk file, of a newer version, its header damaged, or written with other weights or another prior.
    """
    reader = VqkReader(source, entropy_model=model.prior, model_hash=accepted_hashes(model))
    header = reader.header
    if header.coding != "plain" and model.prior is None and not header.tables:
        reader.close()
        raise OtherModelError(
            f"written with the prior {header.tables_hash} ({header.coding}), and this {type(model).__name__} has none; "
            "it is the prior.vqe beside the weights it was written with"
        )
    return reader


def read_cells(reader: VqkReader, cells: int, item: str) -> ReadCells:
    """Read all cells of a picture or a video; damaged or missing cells are marked as lost, with a warning that they are gray.

    Args:
        reader: an open file.
        cells: number of cells that the header promises; the caller checks that they are few enough for memory.
        item: name of the content, such as "image", for messages.

    Raises:
        BitstreamError: it holds more.
    """
    small = max(reader.header.code_sizes) <= 1 << 31
    codes = torch.zeros(cells, reader.header.num_codes, dtype=torch.int32 if small else torch.int64)
    lost = torch.ones(cells, dtype=torch.bool)
    stages = 0
    for block in reader:
        stop = block.start_frame + len(block.codes)
        if stop > cells:
            raise BitstreamError(f"it holds more than the {cells} cells of its {item}")
        if not block.lost and len(block.codes):
            codes[block.start_frame : stop] = block.codes.to(codes.dtype)
            lost[block.start_frame : stop] = False
            stages = max(stages, reader.header.most_stages(block.codes))
    found = [f"{damage}; these cells are gray" if damage.frames else str(damage) for damage in reader.damage]
    if reader.frames < cells:
        found.append(f"the file ends after {reader.frames} of {cells} cells; the others are gray")
    elif not reader.complete:
        found.append("the file is cut off behind its last cell")
    elif reader.pending_bytes:
        found.append(f"{reader.pending_bytes} bytes follow the end that do not belong to the file")
    return ReadCells(codes, lost, stages, reader.header.variable_stages, reader.size, tuple(found))

"""A waveform to the bytes of a ``.vqk`` file and back, with any model of sound that has codes."""

import io
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch
from torch import Tensor

from vqkit.bitstream import VqkHeader, VqkWriter
from vqkit.modality import SOUND
from vqkit.models.audio.latent_search import check_refine_steps
from vqkit.models.audio.level_matching import check_level_rounds, match_levels
from vqkit.models.audio.refinement import LatentRefinement
from vqkit.models.audio.resampling import resample
from vqkit.models.input_checks import check_floating, home, transposed
from vqkit.models.lost import cover_lost, without_lost
from vqkit.models.vqk_files import CodedSignal, HasCodes, header_of, open_reader, packed_codes, unpacked_codes
from vqkit.scale import check_wav_scale
from vqkit.types import Float, Int

__all__ = [
    "Codec",
    "coded",
    "codes_of",
    "compress",
    "decompress",
    "in_frames",
    "open_writer",
    "refinement_of",
    "vqk_header",
]


class Codec(HasCodes, Protocol):
    """Interface of `AudioTokenizer` that this module relies on."""

    sample_rate: int
    channels: int
    hop_samples: int
    level_rounds: int
    refine_steps: int

    def bitrate_kbps(self, stages: int | None = None) -> float:
        """Bitrate of the first ``stages`` stages in kbit/s; of all by default."""

    def stages_within(self, kbps: float) -> int:
        """Stages that fit into a rate."""

    def samples_of(self, frames: int) -> int:
        """Return the number of samples that ``frames`` frames decode to."""

    def touched(self, frames: Tensor) -> Tensor:
        """Mark the samples that depend on the marked frames: ``(frames,)`` bool → ``(samples,)`` bool."""

    def encode(
        self, wav: Tensor, kbps: float | None = None, /, *, rate_weight: float | None = None
    ) -> Int[Tensor, "batch num_codes frames"]:
        """Codes."""

    def decode(self, codes: Tensor, samples: int | None = None, /) -> Float[Tensor, "batch channels samples"]:
        """Waveforms."""


def vqk_header(codec: Codec, stages: int | None = None, *, variable_stages: bool = False) -> VqkHeader:
    """Return the header of a file by this codec that keeps the first ``stages`` stages; all by default."""
    return header_of(
        codec,
        stages,
        variable_stages=variable_stages,
        sample_rate=codec.sample_rate,
        hop_samples=codec.hop_samples * codec.quantizer.block,
        channels=codec.channels,
    )


def open_writer(
    codec: Codec,
    target: str | Path | BinaryIO,
    stages: int | None = None,
    *,
    plain: bool = False,
    length: int | None = None,
    licence: str = "",
    metadata: Mapping[str, str] | None = None,
    variable_stages: bool = False,
) -> VqkWriter:
    """Begin a file of a codec's codes, which come whole or in blocks; they are coded with the codec's prior, if it has one.

    Args:
        codec: codec, which determines the header and has the `prior`.
        target: path or stream.
        stages: number of stages to keep; all by default.
        plain: plain bits although there is a prior: any reader can then read the codes.
        length: samples in all, if known; `VqkWriter.close` can state it later.
        licence: licence of the content.
        metadata: free text by name.
        variable_stages: whether every frame has its own number of stages, as ``codec.encode(wav, rate_weight=…)`` gives them.

    Returns:
        The writer; it takes codes as (frames, num_codes).
    """
    header = vqk_header(codec, stages, variable_stages=variable_stages)
    header = replace(header, length=length, licence=licence, metadata=metadata or {})
    return VqkWriter(target, header, entropy_model=None if plain else codec.prior)


@torch.no_grad()
def coded(codec: Codec, wav: Float[Tensor, "channels samples"]) -> CodedSignal:
    """See `AudioTokenizer.coded`."""
    codes = codes_of(codec, wav, None, codec.level_rounds, codec.refine_steps)
    milliseconds = codes.shape[-1] * codec.hop_samples / codec.sample_rate * 1000
    return CodedSignal(packed_codes(codec.quantizer, codes).cpu(), vqk_header(codec), milliseconds)


@torch.no_grad()
def codes_of(
    codec: Any,
    wav: Float[Tensor, "channels samples"],
    stages: int | None,
    level_rounds: int,
    refine_steps: int,
    rate_weight: float | None = None,
) -> Int[Tensor, "1 num_codes frames"]:
    """The codes of a whole signal of a codec's rate and channels as its file has them: of these stages, or of all."""
    if refine_steps:
        return _refined(codec, LatentRefinement(codec, stages, refine_steps, level_rounds, rate_weight), wav)
    by_need = {} if rate_weight is None else {"rate_weight": rate_weight}  # a codec of one's own may not know it
    codes = codec.encode(match_levels(codec, wav, stages, level_rounds)[None], **by_need)
    return codes if stages is None else codes[:, : codec.quantizer.stage_ends[stages - 1]]


def refinement_of(
    codec: Any,
    stages: int | None,
    level_rounds: int,
    refine_steps: int,
    *,
    rate_weight: float | None,
    kbps: float | None,
    plain: bool,
) -> LatentRefinement | None:
    """The refinement of a file's codes, if it has steps. Frames get stages of their own where a prior makes their numbers cheap."""
    if not refine_steps:
        return None
    rate = None if plain or codec.prior is None else kbps
    return LatentRefinement(codec, stages, refine_steps, level_rounds, rate_weight, rate)


def _refined(codec: Any, refining: LatentRefinement, wav: Tensor) -> Int[Tensor, "1 num_codes frames"]:
    return refining.whole(wav).T[None].to(home(codec).device)


@torch.no_grad()
def compress(
    codec: Codec,
    wav: Float[Tensor, "channels samples"],
    sample_rate: int,
    kbps: float | None = None,
    plain: bool = False,
    rate_weight: float | None = None,
    level_rounds: int | None = None,
    refine_steps: int | None = None,
) -> bytes:
    """See `AudioTokenizer.compress`."""
    rounds = check_level_rounds(codec.level_rounds if level_rounds is None else level_rounds)
    steps = check_refine_steps(codec.refine_steps if refine_steps is None else refine_steps)
    check_floating("wav", wav)
    if wav.ndim != 2 or 0 in wav.shape:
        raise ValueError(f"wav must be (channels, samples), got shape {tuple(wav.shape)}")
    if transposed(wav.shape):
        shape = tuple(wav.shape)
        raise ValueError(
            f"wav must be (channels, samples), got shape {shape}, which looks like (samples, channels): wav.T turns it"
        )
    if wav.shape[0] != codec.channels and 1 not in (wav.shape[0], codec.channels):
        raise ValueError(f"wav has {wav.shape[0]} channels, this codec takes {codec.channels}; only mono is converted")
    check_wav_scale("wav", wav)
    stages = None if kbps is None else codec.stages_within(kbps)
    fitting = wav.mean(dim=0, keepdim=True) if codec.channels == 1 else wav.expand(codec.channels, -1)
    resampled = resample(fitting[None], sample_rate, codec.sample_rate)
    refining = refinement_of(codec, stages, rounds, steps, rate_weight=rate_weight, kbps=kbps, plain=plain)
    if refining is None:
        codes, variable = codes_of(codec, resampled[0], stages, rounds, 0, rate_weight), rate_weight is not None
    else:
        codes, variable = _refined(codec, refining, resampled[0]), refining.variable_stages
        stages = refining.stages
    file, length = io.BytesIO(), resampled.shape[-1]
    with open_writer(codec, file, stages, plain=plain, length=length, variable_stages=variable) as writer:
        writer.write(packed_codes(codec.quantizer, codes).cpu())
    return file.getvalue()


def in_frames(
    codec: Codec, codes: Int[Tensor, "blocks packed_codes"], lost: Tensor, length: int | None
) -> tuple[Int[Tensor, "frames num_codes"], Tensor]:
    """The codes of a file frame by frame, and which frames are lost; the frames of a file are blocks of these in a `Multiscale` codec.

    Args:
        codec: the codec.
        codes: codes of a file, without lost ones, see `vqkit.models.lost.without_lost`.
        lost: True for the lost ones.
        length: samples in all, if known; the last block may have fewer frames than the others.
    """
    quantizer = codec.quantizer
    if quantizer.block == 1 or not len(codes):
        return codes, lost
    frames = len(codes) * quantizer.block
    if length is not None:
        least = (len(codes) - 1) * quantizer.block + 1
        while frames > least and codec.samples_of(frames - 1) >= length:
            frames -= 1
    return unpacked_codes(quantizer, codes, (frames,))[0].T, lost.repeat_interleave(quantizer.block)[:frames]


@torch.no_grad()
def decompress(codec: Codec, data: bytes) -> tuple[Float[Tensor, "channels samples"], int]:
    """See `AudioTokenizer.decompress`."""
    reader = open_reader(codec, io.BytesIO(data))
    codes, lost = without_lost(reader.read())
    for damage in reader.damage:
        warnings.warn(f"{damage}; silence stands for them", stacklevel=3)
    if not reader.complete:
        warnings.warn(f"the file is cut off after {reader.frames} frames", stacklevel=3)
    elif reader.pending_bytes:
        warnings.warn(f"{reader.pending_bytes} bytes follow the end that do not belong to the file", stacklevel=3)
    codes, lost = in_frames(codec, codes, lost, reader.length)
    samples = codec.samples_of(len(codes))
    length = min(reader.length or samples, samples)
    if not length or bool(lost.all()):
        return torch.zeros(codec.channels, length, dtype=torch.float32), codec.sample_rate
    wav = codec.decode(codes.T[None], length)[0].cpu().float()
    return cover_lost(wav, codec.touched(lost)[:length], SOUND), codec.sample_rate

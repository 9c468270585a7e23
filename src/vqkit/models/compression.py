"""A waveform to the bytes of a ``.vqk`` file and back, with any codec."""

import io
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import torch
from torch import Tensor

from vqkit.bitstream import OtherModelError, VqkHeader, VqkReader, VqkWriter
from vqkit.models.identity import accepted_hashes, weight_hash
from vqkit.models.input_checks import check_floating, check_wav_scale, transposed
from vqkit.models.rates import stages_within
from vqkit.models.resampling import resample
from vqkit.types import Float

if TYPE_CHECKING:
    from vqkit.models.image_tokenizer import ImageTokenizer
    from vqkit.models.waveform_codec import WaveformCodec

__all__ = ["compress", "decompress", "open_reader", "open_writer", "vqk_header", "weight_hash"]


def vqk_header(codec: "WaveformCodec", kbps: float | None = None) -> VqkHeader:
    """What a file says about the codec that wrote it, and the stages it keeps at a bitrate.

    Raises:
        ValueError: kbps is below the first stage.
    """
    quantizer = codec.quantizer
    stages = quantizer.num_stages if kbps is None else stages_within(codec.rates_kbps, kbps)
    codes_per_stage = tuple(quantizer.codes_per_stage[:stages])
    return VqkHeader(
        code_sizes=tuple(quantizer.code_sizes[: sum(codes_per_stage)]),
        codes_per_stage=codes_per_stage,
        sample_rate=codec.sample_rate,
        hop_samples=codec.hop_samples,
        channels=codec.channels,
        model=type(codec).__name__,
        model_hash=weight_hash(codec),
    )


def open_writer(
    codec: "WaveformCodec",
    target: str | Path | BinaryIO,
    kbps: float | None = None,
    *,
    plain: bool = False,
    length: int | None = None,
    licence: str = "",
    metadata: Mapping[str, str] | None = None,
) -> VqkWriter:
    """Begin a file of a codec's codes, which come whole or in blocks; they are coded with the codec's prior, if it has one.

    Args:
        codec: its header, and its `prior`.
        target: path or stream.
        kbps: keep as many stages as fit into this rate; all by default.
        plain: plain bits although there is a prior: any reader can then read the codes.
        length: samples in all, if known; `VqkWriter.close` can state it later.
        licence: of the content.
        metadata: free text by name.

    Returns:
        The writer; it takes codes as (frames, num_codes).

    Raises:
        ValueError: kbps is below the first stage.
    """
    header = replace(vqk_header(codec, kbps), length=length, licence=licence, metadata=metadata or {})
    return VqkWriter(target, header, entropy_model=None if plain else codec.prior)


def open_reader(codec: "WaveformCodec | ImageTokenizer", source: str | Path | BinaryIO) -> VqkReader:
    """Open a file to decode it with a codec or an image tokenizer.

    Raises:
        BitstreamError: not a vqk file, of a newer version, its header damaged, or written with other weights or another prior.
    """
    reader = VqkReader(source, entropy_model=codec.prior, model_hash=accepted_hashes(codec))
    header = reader.header
    if header.coding != "plain" and codec.prior is None and not header.tables:
        reader.close()
        raise OtherModelError(
            f"written with the prior {header.tables_hash} ({header.coding}), and this {type(codec).__name__} has none; "
            "it is the prior.vqe beside the weights it was written with"
        )
    return reader


@torch.no_grad()
def compress(
    codec: "WaveformCodec",
    wav: Float[Tensor, "channels samples"],
    sample_rate: int,
    kbps: float | None = None,
    plain: bool = False,
) -> bytes:
    """See `WaveformCodec.compress`."""
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
    fitting = wav.mean(dim=0, keepdim=True) if codec.channels == 1 else wav.expand(codec.channels, -1)
    resampled = resample(fitting[None], sample_rate, codec.sample_rate)
    codes = codec.encode(resampled, kbps)[0]
    file = io.BytesIO()
    with open_writer(codec, file, kbps, plain=plain, length=resampled.shape[-1]) as writer:
        writer.write(codes.T.cpu())
    return file.getvalue()


@torch.no_grad()
def decompress(codec: "WaveformCodec", data: bytes) -> tuple[Float[Tensor, "channels samples"], int]:
    """See `WaveformCodec.decompress`."""
    reader = open_reader(codec, io.BytesIO(data))
    codes = reader.read()
    lost = (codes < 0).all(dim=1)
    for damage in reader.damage:
        warnings.warn(f"{damage}; silence stands for them", stacklevel=3)
    if not reader.complete:
        warnings.warn(f"the file is cut off after {reader.frames} frames", stacklevel=3)
    samples = len(codes) * codec.hop_samples
    length = min(reader.length or samples, samples)
    if not length or bool(lost.all()):
        return torch.zeros(codec.channels, length), codec.sample_rate
    held = torch.where(lost[:, None], 0, codes)  # any code: what comes of it is silenced
    wav = codec.decode(held.T[None], length)[0].cpu().float()
    return wav * ~lost.repeat_interleave(codec.hop_samples)[:length], codec.sample_rate

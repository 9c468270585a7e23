"""Coding of a sound in blocks: as a stream where the codec can stream, otherwise in one go."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from vqkit.models.audio.streaming import CodecStream
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.input_checks import home
from vqkit.models.vqk_files import packed_codes
from vqkit.types import Float, Int

__all__ = ["decoded_blocks", "encoded_blocks", "piece_frames"]


def encoded_blocks(
    codec: AudioTokenizer, blocks: Iterable[Float[Tensor, "channels _"]], rate_weight: float | None = None
) -> Iterator[Int[Tensor, "frames num_codes"]]:
    """Codes of all stages, on the CPU; packed, where the quantizer has codes of several scales.

    Args:
        codec: a codec in evaluation mode.
        blocks: the sound at the codec's rate and with its channels, in pieces of any sizes; read one by one.
        rate_weight: λ; every frame keeps only the stages that are worth their bits, and its later codes are −1.

    Yields:
        The next frames, as soon as they are determined; nothing, of no samples.
    """
    where = home(codec)
    batches = (block[None].to(where) for block in blocks if block.shape[-1])
    first = next(batches, None)
    if first is None:
        return
    by_need: dict[str, Any] = (
        {} if rate_weight is None else {"rate_weight": rate_weight}
    )  # a codec of one's own may not know it
    stream = _stream(codec, **by_need)
    if stream is None:
        yield packed_codes(codec.quantizer, codec.encode(torch.cat([first, *batches], dim=-1), **by_need)).cpu()
        return
    with stream:
        for codes in stream.encode_blocks(chain([first], batches)):
            yield codes[0].T.cpu()


def decoded_blocks(
    codec: AudioTokenizer, blocks: Iterable[Int[Tensor, "frames num_codes"]]
) -> Iterator[Float[Tensor, "channels _"]]:
    """Sound of codes, float32 on the CPU; all the samples of their frames.

    Args:
        codec: a codec in evaluation mode.
        blocks: the codes in pieces of any numbers of frames; read one by one.

    Yields:
        The next samples, as soon as they are determined; nothing, of no frames.
    """
    device = home(codec).device
    batches = (block.T[None].to(device) for block in blocks if len(block))
    first = next(batches, None)
    if first is None:
        return
    stream = _stream(codec)
    if stream is None:
        yield codec.decode(torch.cat([first, *batches], dim=-1))[0].float().cpu()
        return
    with stream:
        for wav in stream.decode_blocks(chain([first], batches)):
            yield wav[0].float().cpu()


def _stream(codec: AudioTokenizer, **by_need: Any) -> CodecStream | None:
    """Return a stream that takes about a second at once; None where the codec needs the full sound."""
    frames = piece_frames(codec)
    return None if frames is None else codec.streaming(block_frames=frames, **by_need)


def piece_frames(codec: AudioTokenizer) -> int | None:
    """Return the number of frames that the networks take at once, about a second; None where the codec needs the full sound."""
    frames = max(1, round(codec.frame_rate))
    try:
        codec.streaming(block_frames=frames)
    except ValueError:  # its layers see the whole signal
        return None
    return frames

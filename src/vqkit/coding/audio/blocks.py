"""A codec on a sound in blocks: as a stream where it can be one, otherwise as a whole."""

from collections.abc import Iterable, Iterator
from itertools import chain

import torch
from torch import Tensor

from vqkit.models.audio.streaming import CodecStream
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.input_checks import home
from vqkit.types import Float, Int

__all__ = ["decoded_blocks", "encoded_blocks", "piece_frames"]


def encoded_blocks(
    codec: AudioTokenizer, blocks: Iterable[Float[Tensor, "channels _"]]
) -> Iterator[Int[Tensor, "frames num_codes"]]:
    """Codes of all stages, on the CPU.

    Args:
        codec: a codec in evaluation mode.
        blocks: the sound at the codec's rate and with its channels, in pieces of any sizes; read one by one.

    Yields:
        The next frames, as soon as they are determined; nothing, of no samples.
    """
    where = home(codec)
    batches = (block[None].to(where) for block in blocks if block.shape[-1])
    first = next(batches, None)
    if first is None:
        return
    stream = _stream(codec)
    if stream is None:
        yield codec.encode(torch.cat([first, *batches], dim=-1))[0].T.cpu()
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


def _stream(codec: AudioTokenizer) -> CodecStream | None:
    """A stream that takes about a second at once; None where the codec needs the whole sound."""
    frames = piece_frames(codec)
    return None if frames is None else codec.streaming(block_frames=frames)


def piece_frames(codec: AudioTokenizer) -> int | None:
    """Frames that the networks are given at once, about a second of them; None where the codec needs the whole sound."""
    frames = max(1, round(codec.frame_rate))
    try:
        codec.streaming(block_frames=frames)
    except ValueError:  # its layers see the whole signal
        return None
    return frames

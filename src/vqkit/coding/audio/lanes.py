"""Coding of several sounds at once: each in a lane of one batch, a second at a time.

    sound 0 ─ pieces of a second ─┐
    sound 1 ─ pieces of a second ─┼─ (lanes, channels, samples) ─ encoder ─ quantizer ─ codes of each lane
    (none)  ─ zeros ──────────────┘

Memory is that of one second a lane, however long the sounds are. The networks always see the same shape: ``lanes`` items, of which those
without a sound are zeros. So the codes of a sound in some lane depend neither on the sounds beside it nor on how many there are. Matrix
products round by their shape and by where in it a row is: with other numbers of lanes, or in another lane, latents differ within float
rounding. The end of a sound, which is shorter than a piece, goes through the networks by itself, with the padding that its end gets.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from vqkit.coding.audio.blocks import encoded_blocks, piece_frames
from vqkit.coding.audio.encode import SoundOnItsWay
from vqkit.coding.coded import CodedSound
from vqkit.coding.rate import Rate
from vqkit.models.audio.pieces import Pieces
from vqkit.models.audio.streaming_quantizer import StreamingQuantizer
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.audio.waveform_codec import WaveformCodec
from vqkit.models.input_checks import home
from vqkit.scale import check_wav_scale
from vqkit.types import Float, Int

__all__ = ["encode_sounds", "encoded_lanes"]

_Source = str | Path | BinaryIO


def encode_sounds(
    codec: AudioTokenizer,
    sources: Sequence[_Source],
    targets: Sequence[_Source],
    lanes: int,
    rate: Rate = Rate(),  # noqa: B008  # frozen
    at: Callable[[int], None] = lambda index: None,
    **header: Any,
) -> list[CodedSound | Exception]:
    """Encode several sound files at once, as `vqkit.coding.audio.encode.encode_file` encodes one.

    With one lane the codes are those of `encode_file`, bit for bit; with several they are, but where two codes lie equally near within
    float rounding. The same sources give the same codes every time, whether or not one of them can be read.

    Args:
        codec: Codec in evaluation mode. One that cannot be streamed takes the sounds one by one.
        sources: What `vqkit.data.AudioBlocks` takes; files of like lengths leave no lane empty.
        targets: A path or stream for each.
        lanes: Sounds that go through the networks together; as many or fewer sources are taken at a time.
        rate: Stages to keep; without ``max_bytes``.
        at: Called with the number of the source that is read next, and with −1 before the networks compute.
        header: ``plain``, ``licence`` and ``metadata`` of the files.

    Returns:
        What was written, or for a sound that cannot be encoded the exception that says why, in the order of the sources.

    Raises:
        ValueError: The rate is too low, or lanes is below 1.
    """
    if lanes < 1:
        raise ValueError(f"lanes must be at least 1, got {lanes}")
    stages = rate.stages_of(codec)
    results: list[CodedSound | Exception] = []
    for first in range(0, len(sources), lanes):
        group = zip(sources[first : first + lanes], targets[first : first + lanes], strict=True)
        results += _encode_group(codec, list(group), lanes, stages, header, partial(_at, at, first))
    return results


def _at(at: Callable[[int], None], first: int, index: int) -> None:
    at(index if index < 0 else first + index)


def _encode_group(
    codec: AudioTokenizer,
    files: list[tuple[_Source, _Source]],
    lanes: int,
    stages: int,
    header: dict[str, Any],
    at: Callable[[int], None],
) -> list[CodedSound | Exception]:
    results: list[CodedSound | Exception | None] = [None] * len(files)
    ways: list[SoundOnItsWay | None] = [None] * len(files)
    with ExitStack() as stack:
        for index, (source, target) in enumerate(files):
            at(index)
            try:
                ways[index] = stack.enter_context(SoundOnItsWay(codec, source, target, stages, **header))
            except Exception as error:
                results[index] = error
        sounds = [() if way is None else way.blocks for way in ways]
        for index, found in encoded_lanes(codec, sounds, lanes, at):
            way = ways[index]
            if way is None or results[index] is not None:
                continue
            try:
                if found is None:
                    results[index] = way.finish()
                elif isinstance(found, Exception):
                    raise found
                else:
                    way.take(found)
            except Exception as error:
                results[index] = error
                way.discard()
    return [ValueError("it was not encoded") if result is None else result for result in results]


@torch.no_grad()
def encoded_lanes(
    codec: AudioTokenizer,
    sounds: Sequence[Iterable[Float[Tensor, "channels _"]]],
    lanes: int,
    at: Callable[[int], None] = lambda index: None,
) -> Iterator[tuple[int, Int[Tensor, "frames num_codes"] | Exception | None]]:
    """Compute the codes of several sounds, of all stages, on the CPU.

    Args:
        codec: Codec in evaluation mode.
        sounds: At most as many as there are lanes; blocks at the codec's rate and with its channels, read a piece at a time.
        lanes: Items of the batch that the networks see.
        at: Called with the number of the sound that is read next, and with −1 before the networks compute.

    Yields:
        The number of a sound, and: its next codes; None after the last of them; or what went wrong while it was read, after which
        nothing follows of it.

    Example:
        >>> from vqkit import RVQ
        >>> from vqkit.models import AudioCodec
        >>> codec = AudioCodec(RVQ(8, 16, 2), sample_rate=8000, num_filters=2, strides=(4, 5)).eval()
        >>> sounds = [[torch.randn(1, 9000)], [torch.randn(1, 100)]]
        >>> [(i, None if codes is None else tuple(codes.shape)) for i, codes in encoded_lanes(codec, sounds, lanes=4)]
        [(1, (5, 2)), (1, None), (0, (400, 2)), (0, (50, 2)), (0, None)]
    """
    frames = piece_frames(codec)
    if frames is None:
        for index, sound in enumerate(sounds):
            at(index)
            yield from _alone(codec, index, sound)
        return
    like = home(codec)
    assert isinstance(codec, WaveformCodec)  # what can be streamed is one
    encoder, quantizer = codec.streaming_encoder(), StreamingQuantizer(codec.quantizer)
    samples = frames * codec.hop_samples
    pieces = {index: _pieces(sound, samples) for index, sound in enumerate(sounds)}
    while pieces:
        wav = torch.zeros(lanes, codec.channels, samples, dtype=torch.float32)
        for index in list(pieces):
            at(index)
            try:
                piece = next(pieces[index])
            except Exception as error:
                del pieces[index]
                yield index, error
                continue
            if piece.shape[-1] == samples:
                wav[index] = piece
                continue
            del pieces[index]
            latent = encoder.lane(index).push(piece[None].to(like), last=True)
            codes = quantizer.lane(index).push(latent.transpose(1, 2), last=True)[0].cpu()
            if len(codes):
                yield index, codes
            yield index, None
        if pieces:
            at(-1)
            codes = quantizer.push(encoder.push(wav.to(like)).transpose(1, 2)).cpu()
            for index in pieces if codes.shape[1] else ():
                yield index, codes[index]


def _pieces(blocks: Iterable[Tensor], samples: int) -> Iterator[Tensor]:
    """Yield segments of one length, then the rest, which is shorter and may be empty.

    Raises:
        ValueError: NaN, Inf or samples far outside −1 … 1.
    """
    pieces = Pieces(samples)
    for block in blocks:
        check_wav_scale("wav", block)
        yield from pieces.push(block)
    rest = pieces.rest()
    if rest is None:
        raise ValueError("it holds no samples")
    yield rest


def _alone(
    codec: AudioTokenizer, index: int, sound: Iterable[Tensor]
) -> Iterator[tuple[int, Tensor | Exception | None]]:
    try:
        for codes in encoded_blocks(codec, sound):
            yield index, codes
    except Exception as error:
        yield index, error
        return
    yield index, None

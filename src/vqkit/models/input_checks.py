"""Checks of a signal before anything is computed: its type first, then its shape; then comes its scale, see `vqkit.scale`."""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

__all__ = [
    "channels_last",
    "check_count",
    "check_floating",
    "check_images",
    "check_videos",
    "check_wav_shape",
    "home",
    "transposed",
    "transposed_video",
]

_MOST_CHANNELS = 8


def home(network: nn.Module) -> Tensor:
    """A tensor with the device and dtype that a network computes in: its first floating parameter or buffer."""
    for tensor in chain(network.parameters(), network.buffers()):
        if tensor.is_floating_point():
            return tensor
    return torch.empty(0, dtype=torch.float32)


def check_count(name: str, count: int, most: int) -> int:
    """Return a number of repetitions after checking it; a saved codec of a stranger may name any.

    Raises:
        ValueError: no integer in 0 … ``most``.
    """
    if type(count) is not int or not 0 <= count <= most:
        raise ValueError(f"{name} must be an integer in 0 … {most}, got {count!r}")
    return count


def check_floating(name: str, signal: Tensor) -> None:
    """Refuse what is no floating tensor.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(signal, Tensor):
        raise TypeError(
            f"{name} must be a floating torch.Tensor, got {type(signal).__module__}.{type(signal).__name__}"
        )
    if not signal.is_floating_point():
        remedy = ""
        if signal.dtype in (torch.int16, torch.int32):
            remedy = f"; integer samples divided by {-torch.iinfo(signal.dtype).min} are"
        elif signal.dtype == torch.uint8:
            remedy = "; bytes divided by 255 are"
        raise TypeError(f"{name} must be floating, got {signal.dtype}{remedy}")


def check_wav_shape(wav: Tensor, channels: int, least_samples: int = 1) -> None:
    """Refuse what is no batch of waveforms for a codec of ``channels`` channels.

    Raises:
        TypeError: not floating.
        ValueError: another shape.
    """
    check_floating("wav", wav)
    if wav.ndim != 3 or wav.shape[1] != channels or not wav.shape[0] or wav.shape[2] < least_samples:
        shape = tuple(wav.shape)
        hint = ""
        if len(shape) == 3 and transposed(shape[1:]):
            hint = ", which looks like (batch, samples, channels): wav.transpose(1, 2) turns it"
        raise ValueError(f"wav must be (batch, {channels} channels, samples), got shape {shape}{hint}")


def transposed(sizes: Sequence[int]) -> bool:
    """Return whether the shape (channels, samples) of a sound is so unlikely that it must be (samples, channels).

    Example:
        >>> transposed((16000, 2)), transposed((2, 16000)), transposed((2, 1))
        (True, False, False)
    """
    return len(sizes) == 2 and sizes[0] > max(sizes[1], _MOST_CHANNELS)


def check_images(images: Tensor, channels: int) -> None:
    """Refuse what is no batch of images for a tokenizer of ``channels`` channels.

    Raises:
        TypeError: not floating.
        ValueError: another shape.
    """
    check_floating("images", images)
    if images.ndim != 4 or images.shape[1] != channels or 0 in images.shape:
        shape = tuple(images.shape)
        raise ValueError(
            f"images must be (batch, {channels} channels, height, width), got shape {shape}{channels_last(shape[1:])}"
        )


def check_videos(videos: Tensor, channels: int) -> None:
    """Refuse what is no batch of videos for a tokenizer of ``channels`` channels.

    Raises:
        TypeError: not floating.
        ValueError: another shape.
    """
    check_floating("video", videos)
    if videos.ndim != 5 or videos.shape[1] != channels or 0 in videos.shape:
        shape = tuple(videos.shape)
        raise ValueError(
            f"video must be (batch, {channels} channels, frames, height, width), got shape {shape}{transposed_video(shape[1:])}"
        )


def transposed_video(shape: Sequence[int]) -> str:
    """Return a hint for an error message if a video's channels seem to stand last or behind its frames; "" otherwise.

    Example:
        >>> transposed_video((8, 48, 64, 3))
        ', which looks like (frames, height, width, channels): video.movedim(-1, -4) turns it'
        >>> transposed_video((8, 3, 48, 64))
        ', which looks like (frames, channels, height, width): video.transpose(-3, -4) turns it'
    """
    if len(shape) != 4:
        return ""
    if shape[3] in (1, 3) and min(shape[1:3]) > 3:
        return ", which looks like (frames, height, width, channels): video.movedim(-1, -4) turns it"
    if shape[1] in (1, 3):
        return ", which looks like (frames, channels, height, width): video.transpose(-3, -4) turns it"
    return ""


def channels_last(shape: Sequence[int]) -> str:
    """Return a hint for an error message if an image's channels seem to stand last; "" otherwise.

    Example:
        >>> channels_last((480, 640, 3))
        ', which looks like (height, width, channels): image.movedim(-1, -3) turns it'
        >>> channels_last((3, 480, 640))
        ''
    """
    if len(shape) != 3 or shape[2] not in (1, 3) or min(shape[:2]) <= 3:
        return ""
    return ", which looks like (height, width, channels): image.movedim(-1, -3) turns it"

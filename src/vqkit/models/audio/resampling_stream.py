"""Resampling of a waveform in blocks: the samples are those of `resample` of the full waveform, bit for bit."""

import torch
from torch import Tensor

from vqkit.types import Float, need

__all__ = ["ResamplingStream", "resampled_length"]


def resampled_length(samples: int, sample_rate: int, target_sample_rate: int) -> int:
    """Return the number of samples that `resample` returns for a waveform of ``samples`` samples.

    Example:
        >>> resampled_length(44100, 44100, 16000), resampled_length(3, 48000, 24000)
        (16000, 2)
    """
    return (2 * samples * target_sample_rate + sample_rate) // (2 * sample_rate)  # a half is rounded up


class ResamplingStream:
    """Block-wise resampling of one waveform by soxr, which buffers the few samples that its filter still needs.

    Args:
        sample_rate: sample rate of the blocks, in Hz.
        target_sample_rate: sample rate of the output, in Hz.
        channels: number of channels of the blocks.

    Raises:
        ValueError: a rate below 1 Hz.

    Example:
        >>> from vqkit.models.audio.resampling import resample
        >>> wav, stream = torch.randn(1, 2, 10000), ResamplingStream(44100, 16000, channels=2)
        >>> blocks = [*(stream.push(block) for block in wav[0].split(999, dim=-1)), stream.finish()]
        >>> torch.equal(torch.cat(blocks, dim=-1), resample(wav, 44100, 16000)[0])
        True
    """

    def __init__(self, sample_rate: int, target_sample_rate: int, channels: int) -> None:
        for name, rate in (("sample_rate", sample_rate), ("target_sample_rate", target_sample_rate)):
            if rate < 1:
                raise ValueError(f"{name} must be at least 1 Hz, got {rate}")
        self._channels = channels
        self._stream = None
        if sample_rate != target_sample_rate:
            soxr = need("soxr", "audio")
            self._stream = soxr.ResampleStream(
                sample_rate, target_sample_rate, channels, dtype="float32", quality="VHQ"
            )

    def push(self, wav: Float[Tensor, "channels samples"]) -> Float[Tensor, "channels resampled"]:
        """Append a block and return the output samples that are now determined, perhaps none."""
        return wav if self._stream is None else self._pushed(wav, last=False)

    def finish(self) -> Float[Tensor, "channels resampled"]:
        """Return the remaining output samples; no block can follow."""
        rest = torch.zeros(self._channels, 0, dtype=torch.float32)
        return rest if self._stream is None else self._pushed(rest, last=True)

    def _pushed(self, wav: Tensor, last: bool) -> Tensor:
        assert self._stream is not None
        rows = wav.to("cpu", torch.float32).T.contiguous().numpy()
        return torch.from_numpy(self._stream.resample_chunk(rows, last=last).reshape(-1, self._channels).T.copy())

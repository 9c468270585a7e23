"""Decoded audio kept in memory: decoding Vorbis or Opus anew for every crop costs far more than the crop."""

from pathlib import Path

from torch import Tensor

from vqkit.data.audio.file import read_clip
from vqkit.data.tensor_cache import TensorCache
from vqkit.types import Float


class AudioCache:
    """Whole files at one rate and channel count, in a `TensorCache`.

    Args:
        sample_rate: sample rate in Hz.
        channels: 1 or 2.
        megabytes: budget in 10^6 bytes of float32 samples.
    """

    def __init__(self, sample_rate: int, channels: int, megabytes: float) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.megabytes = megabytes
        self._cache = TensorCache(megabytes)

    def __len__(self) -> int:
        return len(self._cache)

    @property
    def budget_bytes(self) -> int:
        """The most that is held."""
        return self._cache.budget_bytes

    def fits(self, seconds: float) -> bool:
        """Return whether a file of this duration fits into the cache's budget."""
        return seconds * self.sample_rate * self.channels * 4 <= self.budget_bytes

    def read(self, path: Path) -> Float[Tensor, "channels samples"]:
        """Return all samples of a file, from the cache where they are there; not to be written to.

        Raises:
            FileNotFoundError, ValueError: as `read_clip`.
        """
        return self._cache.get(path, lambda: read_clip(path, self.sample_rate, self.channels))

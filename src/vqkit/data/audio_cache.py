"""Decoded audio kept in memory: decoding Vorbis or Opus anew for every crop costs far more than the crop."""

from collections import OrderedDict
from pathlib import Path

from torch import Tensor

from vqkit.data.audio_file import read_audio
from vqkit.types import Float


class AudioCache:
    """Whole files at one rate and channel count; the least recently used leave when the budget is full.

    A copy sent to another process starts empty, so the budget holds for each process.

    Args:
        sample_rate: in Hz.
        channels: 1 or 2.
        megabytes: budget in 10^6 bytes of float32 samples.
    """

    def __init__(self, sample_rate: int, channels: int, megabytes: float) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.megabytes = megabytes
        self._used_bytes = 0
        self._held: OrderedDict[Path, Tensor] = OrderedDict()

    def __reduce__(self) -> tuple[type, tuple[int, int, float]]:
        return AudioCache, (self.sample_rate, self.channels, self.megabytes)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def budget_bytes(self) -> int:
        """The most that is held."""
        return int(self.megabytes * 1e6)

    def fits(self, seconds: float) -> bool:
        """Whether a file of this duration may be held at all."""
        return seconds * self.sample_rate * self.channels * 4 <= self.budget_bytes

    def read(self, path: Path) -> Float[Tensor, "channels samples"]:
        """The whole file, from memory where it is held; not to be written to.

        Raises:
            FileNotFoundError, ValueError: as `read_audio`.
        """
        if path in self._held:
            self._held.move_to_end(path)
            return self._held[path]
        samples = read_audio(path, self.sample_rate, self.channels).samples
        size = samples.nbytes
        if size <= self.budget_bytes:
            while self._used_bytes + size > self.budget_bytes:
                self._used_bytes -= self._held.popitem(last=False)[1].nbytes
            self._held[path] = samples
            self._used_bytes += size
        return samples

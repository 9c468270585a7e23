"""Random crops of audio clips, for training."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from vqkit.data.audio.augment import AudioAugmentation
from vqkit.data.audio.cache import AudioCache
from vqkit.data.audio.clips import Clip
from vqkit.data.audio.file import audio_info, load_audio
from vqkit.data.unreadable import READ_ERRORS, named
from vqkit.scale import check_wav_scale
from vqkit.types import Float

_END_SECONDS = 0.1  # headers of some containers overstate the length by a packet: no crop starts that close to the end


class AudioCrops(Dataset[Tensor]):
    """A map-style data set of random crops, each second of the clips equally likely.

    Crop ``index`` of an epoch depends only on ``seed``, the epoch and ``index``: not on the number of workers or ranks, nor on what was
    read before. Clips that cannot be used, as they are damaged or reach far outside ±1, are named in a warning, listed in `skipped` and
    replaced by others: at construction where the header tells, otherwise when they are first read. Of clips that are damaged in part the
    rest is used, with a warning: silence stands for what is missing.

    Args:
        clips: clips from `list_clips`.
        sample_rate: sample rate of the crops, in Hz.
        channels: channels of the crops, 1 or 2.
        crop_seconds: duration of a crop.
        crops_per_epoch: length of the data set.
        seed: seed, at least 0.
        short: treatment of clips shorter than a crop: "skip" them, or "pad" them with zeros at the end.
        cache_megabytes: decoded audio held in memory, in each process that reads; a clip too long for it is read in part each time.
        group_shares: share of the crops that comes from each group of clips, whatever their durations; clips of groups that are not
            named are not used. None draws from all by duration.
        peak_db: scale every crop so that its peak lies anywhere between these two levels, in dB below full scale, each equally likely;
            silence stays as it is. None leaves the level alone.
        augment: random changes of the crops, made before their level is; None makes none.

    Raises:
        ValueError: an argument is out of range, or no clip can be used.

    Example:
        >>> from vqkit.data import list_clips, sample_folder
        >>> crops = AudioCrops(
        ...     list_clips(sample_folder(), "train", "music"), 24000, 1, crop_seconds=0.5, crops_per_epoch=100, seed=0
        ... )
        >>> len(crops), crops[7].shape
        (100, torch.Size([1, 12000]))
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        channels: int,
        crop_seconds: float,
        crops_per_epoch: int,
        seed: int = 0,
        short: Literal["skip", "pad"] = "skip",
        cache_megabytes: float = 256,
        group_shares: Mapping[str, float] | None = None,
        peak_db: tuple[float, float] | None = None,
        augment: AudioAugmentation | None = None,
    ) -> None:
        self.crop_samples = self._out_samples = round(crop_seconds * sample_rate)
        if augment is not None:
            self.crop_samples = augment.needed_samples(self.crop_samples)
        self.augment = augment
        _check(clips, sample_rate, channels, self.crop_samples, crops_per_epoch, seed, short)
        if peak_db is not None and not -120 <= peak_db[0] <= peak_db[1] <= 0:
            raise ValueError(f"peak_db is {tuple(peak_db)}, it must be two rising levels in −120 … 0 dB")
        clips = list(clips) if group_shares is None else _of_groups(clips, group_shares)
        self.peak_db = peak_db
        self.clips = list(clips)
        self.sample_rate, self.channels = sample_rate, channels
        self.crops_per_epoch, self.seed, self.short = crops_per_epoch, seed, short
        self._cache = AudioCache(sample_rate, channels, cache_megabytes)
        # In shared memory: loader processes see a new epoch even when they persist, and report the clips that they cannot read.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._unusable = torch.zeros(len(clips), dtype=torch.bool).share_memory_()
        self._reasons: dict[int, str] = {}
        self._lossy: set[int] = set()  # clips of which something is missing, named by this process
        seconds = [self._header_seconds(index) for index in range(len(clips))]
        self._weights = np.asarray(seconds)
        self._seconds = self._weights if group_shares is None else self._weights.copy()
        for group, share in (group_shares or {}).items():
            members = np.asarray([clip.group == group for clip in self.clips])
            self._weights[members] *= share / max(self._weights[members].sum(), 1e-9)
        self._bounds = np.cumsum(self._weights)
        if self._reasons:
            what = named({str(self.clips[index].path): reason for index, reason in self._reasons.items()}, len(clips))
            if not self._weights.any():
                raise ValueError(f"no clip can be used, skipped {what}")
            warnings.warn(f"skipped {what}", stacklevel=2)

    def __len__(self) -> int:
        return self.crops_per_epoch

    def __getitem__(self, index: int) -> Float[Tensor, "channels samples"]:
        if not 0 <= index < self.crops_per_epoch:
            raise IndexError(f"crop {index} of {self.crops_per_epoch}")
        random = np.random.default_rng((self.seed, int(self._epoch), index))
        crop = self._any_crop(random)
        if self.augment is not None:
            other = self._any_crop(random) if self.augment.wants_another(random) else None
            crop = self.augment(crop, other, self._out_samples, self.sample_rate, random)
        return self._at_level(crop, random)

    def _any_crop(self, random: np.random.Generator) -> Tensor:
        first = int(np.searchsorted(self._bounds, random.random() * self._bounds[-1], side="right"))
        position = random.random()
        crop = self._crop(first, position)
        if crop is not None:
            return crop
        # The other clips in a random order weighted by duration (Efraimidis and Spirakis 2006), each once: what other processes or
        # earlier items have found out cannot change the outcome, and the search ends.
        with np.errstate(divide="ignore"):
            order = np.argsort(np.log(1 - random.random(len(self.clips))) / self._weights)[::-1]
        for other in order:
            if self._weights[other] and other != first and (crop := self._crop(int(other), position)) is not None:
                return crop
        reasons = [*self.skipped.values()] or ["their samples are far outside ±1"]
        raise ValueError(f"none of the {len(self.clips)} clips can be read; the last failure: {reasons[-1]}")

    def _at_level(self, crop: Tensor, random: np.random.Generator) -> Tensor:
        peak = float(crop.abs().max())
        if self.peak_db is None or peak == 0:
            return crop
        return crop * (10 ** (random.uniform(*self.peak_db) / 20) / peak)

    def set_epoch(self, epoch: int) -> None:
        """Draw other crops: call before each pass, with the same number on every rank."""
        if epoch < 0:
            raise ValueError(f"epoch is {epoch}, it must be at least 0")
        self._epoch.fill_(epoch)

    @property
    def skipped(self) -> dict[str, str]:
        """Path → reason of the clips found unusable so far, by this process or by its loader workers."""
        for index in self._unusable.nonzero().flatten().tolist():
            if index not in self._reasons:  # found by a worker: ask the file again for the reason
                self._attempt(index, 0.0, warn=False)
        return {str(self.clips[index].path): reason for index, reason in sorted(self._reasons.items())}

    def _header_seconds(self, index: int) -> float:
        clip = self.clips[index]
        try:
            seconds = clip.seconds or audio_info(clip.path).seconds
            self._check_length(seconds * self.sample_rate)
        except READ_ERRORS as error:
            self._skip(index, str(error))
            return 0.0
        return seconds

    def _check_length(self, samples: float) -> None:
        if self.short == "skip" and round(samples) < self.crop_samples:
            rate = self.sample_rate
            raise ValueError(f"lasts {samples / rate:.3f} s, a crop {self.crop_samples / rate:.3f} s")

    def _skip(self, index: int, reason: str) -> None:
        self._unusable[index] = True
        self._reasons[index] = reason

    def _crop(self, index: int, position: float) -> Tensor | None:
        return None if self._unusable[index] else self._attempt(index, position, warn=True)

    def _attempt(self, index: int, position: float, warn: bool) -> Tensor | None:
        """The crop at ``position`` of 0 … 1 within the clip; None, and the clip marked, where it cannot be read."""
        clip = self.clips[index]
        try:
            if self._cache.fits(self._seconds[index]):
                samples = self._cache.read(clip.path)
                self._check_length(samples.shape[1])
                start = int(position * (max(0, samples.shape[1] - self.crop_samples) + 1))
                samples = samples[:, start : start + self.crop_samples]
            else:
                room = int((audio_info(clip.path).seconds - _END_SECONDS) * self.sample_rate) - self.crop_samples
                start = int(position * (max(0, room) + 1))
                length = self.crop_samples / self.sample_rate
                wave = load_audio(clip.path, self.sample_rate, self.channels, start / self.sample_rate, length)
                samples = wave.samples
                self._check_length(samples.shape[1])
                if not self._sensible(index, samples):
                    return None
                if wave.warnings and index not in self._lossy:  # each part would warn anew
                    self._lossy.add(index)
                    warnings.warn(f"{clip.path}: {wave.warnings[0]}", stacklevel=4)
        except READ_ERRORS as error:
            self._skip(index, str(error))
            if warn:
                reason = str(error).removeprefix(f"{clip.path} ")
                warnings.warn(f"skipped {clip.path}: {reason}", stacklevel=4)
            return None
        return functional.pad(samples, (0, self.crop_samples - samples.shape[1])).clone()

    def _sensible(self, index: int, samples: Tensor) -> bool:
        """Whether a part of a clip is about ±1. Other parts may be, and must not depend on who has met this one: no clip is marked."""
        try:
            check_wav_scale("a part of it", samples)
        except ValueError as error:
            if index not in self._lossy:
                self._lossy.add(index)
                warnings.warn(f"{self.clips[index].path}: {error}; such parts are skipped", stacklevel=5)
            return False
        return True


def _of_groups(clips: Sequence[Clip], shares: Mapping[str, float]) -> list[Clip]:
    if not shares or any(share <= 0 for share in shares.values()):
        raise ValueError(f"group_shares is {dict(shares)}, it must name groups with positive shares")
    groups = {clip.group for clip in clips}
    if missing := shares.keys() - groups:
        raise ValueError(f"group_shares names {', '.join(sorted(missing))}; the clips have {', '.join(sorted(groups))}")
    return [clip for clip in clips if clip.group in shares]


def _check(
    clips: Sequence[Clip],
    sample_rate: int,
    channels: int,
    crop_samples: int,
    crops_per_epoch: int,
    seed: int,
    short: str,
) -> None:
    if not clips:
        raise ValueError("clips is empty, at least one is needed")
    if channels not in (1, 2):
        raise ValueError(f"channels is {channels}, allowed are 1 and 2")
    for name, value in (
        ("sample_rate", sample_rate),
        ("crop_seconds in samples", crop_samples),
        ("crops_per_epoch", crops_per_epoch),
    ):
        if value < 1:
            raise ValueError(f"{name} is {value}, it must be at least 1")
    if seed < 0:
        raise ValueError(f"seed is {seed}, it must be at least 0")
    if short not in ("skip", "pad"):
        raise ValueError(f"short is {short!r}, allowed are 'skip' and 'pad'")

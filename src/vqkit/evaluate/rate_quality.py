"""Codecs at rates, judged on sounds: every value of every sound is kept, so that results can be paired."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor

from vqkit.evaluate.codecs.coded import System
from vqkit.evaluate.excerpts import Sound
from vqkit.evaluate.listeners import listeners
from vqkit.types import Float

__all__ = ["Judged", "judge"]


@dataclass(frozen=True)
class Judged:
    """A system on a sound.

    Attributes:
        system: name of the system.
        sound: name of the sound.
        kind: kind of the sound.
        seconds: duration of the sound in seconds.
        packet_bytes: size of the codec's own packets; see `Coded`.
        file_bytes: size of the whole file; see `Coded`.
        values: values by metric; None where the metric cannot score this sound, such as speech that is too short.
        wav: decoded waveform, if requested.
        vqk: the ``.vqk`` file, if requested, from a codec of vqkit.
    """

    system: str
    sound: str
    kind: str
    seconds: float
    packet_bytes: int
    file_bytes: int
    values: dict[str, float | None]
    wav: Float[Tensor, "1 samples"] | None = None
    vqk: bytes | None = None


def judge(
    sounds: Sequence[Sound],
    systems: Mapping[str, Sequence[System]],
    *,
    thorough: bool = True,
    speaker_model: Path | None = None,
    keep_wavs: bool = False,
    jobs: int = 1,
    progress: Callable[[Sound, list[Judged]], None] = lambda *_: None,
) -> list[Judged]:
    """Code every sound with every system of its kind, and judge the result.

    Args:
        sounds: sounds of different names.
        systems: the codecs for each kind of sound, of different names.
        thorough: also the slow metrics, see `vqkit.evaluate.listeners`.
        speaker_model: local folder of a speaker embedder; None leaves that metric out.
        keep_wavs: return the decoded waveforms and the ``.vqk`` files too.
        jobs: processes; each is a new interpreter with one thread, so a script must be importable without running.
        progress: told of every finished sound.

    Returns:
        Sounds in their order, the systems of each in theirs; the values do not depend on ``jobs``, save for rounding.

    Raises:
        ValueError: names twice, a kind without systems, fewer than one job, or what a system raises.

    Example:
        >>> from vqkit.evaluate.codecs import MP3
        >>> noise = Sound("noise", 0.1 * torch.randn(1, 32000, generator=torch.Generator().manual_seed(0)), 16000, "music")
        >>> one, other = judge([noise], {"music": [MP3(8), MP3(64)]}, thorough=False)
        >>> one.packet_bytes < other.packet_bytes, one.values["mel_distance"] > other.values["mel_distance"]
        (True, True)
    """
    _check(sounds, systems, jobs)
    work = partial(_judge_one, thorough=thorough, speaker_model=speaker_model, keep_wavs=keep_wavs)
    tasks = [(sound, tuple(systems[sound.kind])) for sound in sounds]
    judged: list[Judged] = []
    for sound, found in zip(sounds, _results(work, tasks, jobs), strict=True):
        progress(sound, found)
        judged += found
    return judged


_Task = tuple[Sound, tuple[System, ...]]


def _results(work: Callable[[_Task], list[Judged]], tasks: list[_Task], jobs: int) -> Iterator[list[Judged]]:
    if jobs == 1:
        yield from map(work, tasks)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_start_worker) as pool:
        yield from pool.map(work, tasks)


def _start_worker() -> None:
    torch.set_num_threads(1)
    torch.multiprocessing.set_sharing_strategy("file_system")  # an open file a waveform would run into the limit


def _judge_one(task: _Task, thorough: bool, speaker_model: Path | None, keep_wavs: bool) -> list[Judged]:
    sound, systems = task
    metrics = listeners(sound.kind, sound.sample_rate, thorough, speaker_model)
    judged = []
    for system in systems:
        coded = system.code(sound.wav, sound.sample_rate)
        values: dict[str, float | None] = {}
        for name, metric in metrics.items():
            metric.reset()
            try:
                metric.update(coded.wav[None], sound.wav[None])
                values[name] = float(metric.compute())
            except ValueError:
                values[name] = None
        result = Judged(
            system.name,
            sound.name,
            sound.kind,
            sound.wav.shape[1] / sound.sample_rate,
            coded.packet_bytes,
            coded.file_bytes,
            values,
        )
        judged.append(replace(result, wav=coded.wav, vqk=coded.vqk) if keep_wavs else result)
    return judged


def _check(sounds: Sequence[Sound], systems: Mapping[str, Sequence[System]], jobs: int) -> None:
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    _refuse_twice("sounds", [sound.name for sound in sounds])
    for members in systems.values():
        _refuse_twice("systems", [system.name for system in members])
    missing = sorted({sound.kind for sound in sounds} - systems.keys())
    if missing:
        raise ValueError(f"there are sounds of kind {', '.join(missing)}, systems only for {', '.join(systems)}")


def _refuse_twice(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} must have different names, twice there: {', '.join(twice)}")

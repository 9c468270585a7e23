"""Driver and workers are killed at random, over one item or several at once; the end equals an undisturbed run, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas
import pytest
from hashing import BatchHashEncoder, run

from vqkit.tokenize import TokenizeSettings, tokenize
from vqkit.tokenize.manifest import verify_tokens
from vqkit.tokenize.ray_run import _Actor
from vqkit.tokenize.unit_work import finished_record

KILLS = 20


def children(pid):
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def start(corpus, target):
    script = Path(__file__).with_name("hashing.py")
    return subprocess.Popen([sys.executable, str(script), str(corpus), str(target), "0.02"])


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes in /proc")
def test_killed_at_random(corpus, tmp_path, content_of):
    folder = corpus(240, {17: b"bad", 133: b"bad too"})
    run(folder, tmp_path / "calm")
    chance = random.Random(0)
    target, kills, of_driver = tmp_path / "wild", 0, 0
    driver = start(folder, target)
    deadline = time.monotonic() + 150
    while kills < KILLS and time.monotonic() < deadline:
        workers = children(driver.pid)
        if (
            driver.poll() is not None
        ):  # killed, or done: then some of it is taken away, so that there is something to do
            if driver.returncode == 0:
                for path in chance.sample(sorted((target / "shards").iterdir()), 40):
                    path.unlink()
                (target / "manifest.json").unlink()
            driver = start(folder, target)
        elif len(workers) >= 2:
            time.sleep(chance.uniform(0.0, 0.6))
            victim = driver.pid if chance.random() < 0.25 else chance.choice(workers)
            of_driver += victim == driver.pid
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(victim, signal.SIGKILL)
                kills += 1
        else:
            time.sleep(0.02)
    assert driver.wait(timeout=60) in (0, -9)
    while driver.returncode:
        driver = start(folder, target)
        driver.wait(timeout=60)
    assert kills >= KILLS
    assert 0 < of_driver < kills / 2
    calm, wild = content_of(tmp_path / "calm"), content_of(target)
    assert calm.keys() == wild.keys()
    assert len(calm) == 2 * 60 + 2
    for name, data in calm.items():
        assert data == wild[name], name
    assert verify_tokens(target) == 2 * 60 + 1
    assert not list(target.rglob("*.tmp"))


@pytest.mark.parametrize(("batch", "content"), [(1, b"crash"), (3, b"crash"), (3, b"too much")])
def test_an_item_that_ends_processes_is_listed(corpus, tmp_path, batch, content):
    """While it is read, and while several are computed together, when nobody knows which it was."""
    folder = corpus(10, {5: content})
    totals = run(folder, tmp_path / "out", items_per_shard=5, formats=("parquet",), batch=batch)
    assert (totals["items"], totals["failed"]) == (9, 1)
    (line,) = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    assert "2/0005.wav" in line
    assert "2 processes ended while they worked on it (killed by SIGABRT)" in line


class Died(BaseException):
    """Stands for the end of a process: nothing catches it."""


@dataclass(frozen=True)
class Fatal(BatchHashEncoder):
    """Reading, or computing with, an item of this content ends the process."""

    content: bytes = b"crash"
    computing: bool = False

    def encode(self, loaded, item):
        if not self.computing and item.data.read_bytes() == self.content:
            raise Died
        return super().encode(loaded, item)

    def encode_together(self, loaded, items, at):
        found = super().encode_together(loaded, items, at)
        if self.computing and any(item.data.read_bytes() == self.content for item in items):
            raise Died
        return found


@pytest.mark.parametrize(("batch", "computing"), [(1, False), (3, False), (3, True)])
def test_on_ray_too_an_item_that_ends_processes_is_listed(corpus, tmp_path, batch, computing):
    """Ray starts a unit again for ever, so what died where lies beside the units."""
    folder = corpus(10, {5: b"fatal"})
    encoder = Fatal(batch=batch, content=b"fatal", computing=computing)
    deaths = 0

    def like_ray(units, work):
        nonlocal deaths
        for unit in units:
            while finished_record(work.target, unit["unit"]) is None:
                try:
                    _Actor(work)(pandas.DataFrame({"unit": [unit]}))
                except Died:
                    deaths += 1
            yield finished_record(work.target, unit["unit"])

    settings = TokenizeSettings(("parquet",), 5)
    totals = tokenize(folder, tmp_path / "out", lambda kinds: encoder, settings, runner=like_ray)
    assert (totals["items"], totals["failed"]) == (9, 1)
    (line,) = (tmp_path / "out" / "failures.jsonl").read_text().splitlines()
    assert "2/0005.wav" in line
    assert "3 processes ended while they worked on it" in line
    assert deaths == (7 if computing else 4)  # the first one says only that there was one
    assert not list((tmp_path / "out/.vqkit/attempts").iterdir())

"""Units on a cluster: Ray Data moves them to actors on its nodes, which write to a file system that all nodes share.

Actors and tasks that die are started again by Ray. Since a unit has the same effect every time, and none before its record is written, a
unit that was done twice, or by a node that was thought to be dead, leaves what one does that was done once.
"""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqkit.files import write_whole
from vqkit.tokenize.source import Unit
from vqkit.tokenize.unit_work import SEVERAL, STATE, UnitWork, finished_record
from vqkit.types import need

__all__ = ["RayRunner"]

_DEATHS = 3  # of processes over one item, or over several at once


@dataclass(frozen=True)
class RayRunner:
    """Does units with Ray Data.

    Args:
        address: Address of a running cluster, or ``"auto"``; empty starts one on this machine.
        processes: Actors at most, of one core each; 0 takes all cores of the cluster. Where the encoder's device is a GPU, each has one.
    """

    address: str = ""
    processes: int = 0

    def __call__(self, units: Iterator[Unit], work: UnitWork) -> Iterator[dict[str, Any]]:
        """Records of units, in the order in which they are finished.

        Raises:
            ImportError: Ray is not installed.
        """
        ray = need("ray", "ray")
        need("ray.data", "ray")
        # its thread outlives the run, and ended the process (Ray 2.60) when it wrote to the log while ray.shutdown() was at work
        os.environ.setdefault("RAY_DATA_USAGE_DISABLED", "1")
        if not ray.is_initialized():
            with _own_sigterm():
                ray.init(address=self.address or None, log_to_driver=False)
        on_gpu = str(getattr(work.encoder, "device", "cpu")).startswith("cuda")
        most = self.processes or max(1, int(ray.cluster_resources().get("GPU" if on_gpu else "CPU", 1)))
        waiting = list(units)  # places of items only, some kilobytes a unit
        if not waiting:
            return
        records = ray.data.from_items([{"unit": unit} for unit in waiting]).map_batches(
            _Actor,
            fn_constructor_args=(work,),
            batch_size=1,
            batch_format="pandas",
            num_cpus=1,
            concurrency=(1, most),
            **({"num_gpus": 1} if on_gpu else {}),
        )
        for row in records.iter_rows():
            record = finished_record(work.target, int(row["unit"]))
            if record is None:
                raise ValueError(
                    f"unit {row['unit']} was done on another node, and {work.target} does not show it: "
                    "the folder must lie on a file system that all nodes share"
                )
            yield record


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep what this process does when it is asked to end: Ray puts a handler of its own, and training, for one, then saves nothing."""
    main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if main_thread:
            signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


class _Actor:
    """A process on some node that loads the models once."""

    def __init__(self, work: UnitWork) -> None:
        self._work, self._loaded = work, work.load()

    def __call__(self, batch: Any) -> Any:
        for unit in batch["unit"]:
            if finished_record(self._work.target, unit["unit"]) is None:
                attempt = _Attempt(self._work.target / STATE / "attempts" / f"{unit['unit']}.json")
                self._work(self._loaded, unit, attempt.skip, attempt.at, attempt.alone)
                attempt.end()
        return batch.assign(unit=[unit["unit"] for unit in batch["unit"]])


class _Attempt:
    """Record that a unit's attempts leave for the next one, since Ray restarts a unit as often as its process dies, and does not say why.

    The first attempt records its start. A later one finds that, so some process died, and records its position with every item; items
    over which `_DEATHS` processes died are listed as failed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            left = json.loads(path.read_bytes())
            self._deaths: Counter[int] = Counter({int(item): count for item, count in left["deaths"].items()})
            self._again = True
            if left["item"] is not None:
                self._deaths[int(left["item"])] += 1
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._deaths, self._again = Counter(), False
        over = {item for item, count in self._deaths.items() if count >= _DEATHS}
        self.alone = SEVERAL in over
        self.skip = dict.fromkeys(over - {SEVERAL}, f"{_DEATHS} processes ended while they worked on it")
        self._leave(None)

    def at(self, index: int) -> None:
        """Record the current item, in attempts after the first."""
        if self._again:
            self._leave(None if index < 0 and index != SEVERAL else index)

    def end(self) -> None:
        """Remove the record, since the unit is done."""
        self._path.unlink(missing_ok=True)

    def _leave(self, item: int | None) -> None:
        write_whole(self._path, json.dumps({"item": item, "deaths": dict(self._deaths)}).encode())

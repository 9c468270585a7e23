"""Times of several calls that alternate, for the benchmarks of speed."""

import time
from collections.abc import Callable

import vqkit

Call = Callable[[], object]


class Clock:
    """Seconds: of the clock, or of this thread on its processor, for a machine on which other programs run."""

    def __init__(self) -> None:
        self.now = time.perf_counter

    def busy(self) -> None:
        """Count the processor's time of the one thread from now on."""
        self.now = time.thread_time


CLOCK = Clock()


def least(calls: dict[str, Call], repeats: int) -> dict[str, float]:
    """The least seconds of each of several calls that alternate; what takes microseconds is called often."""
    found: dict[str, float] = {}
    often: dict[str, int] = {}
    for name, call in calls.items():
        call()
        start = CLOCK.now()
        call()
        often[name] = max(1, min(200, round(0.005 / max(CLOCK.now() - start, 1e-6))))
    for _ in range(repeats):
        for name, call in calls.items():
            start = CLOCK.now()
            for _ in range(often[name]):
                call()
            taken = (CLOCK.now() - start) / often[name]
            found[name] = min(found.get(name, taken), taken)
    return found


def fill(quantizer: vqkit.Quantizer) -> vqkit.Quantizer:
    """Codebooks of noise."""
    for table in quantizer.codebooks:
        table.normal_()
    return quantizer.eval()

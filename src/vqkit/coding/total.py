"""Total of a folder's outcomes, in one line."""

import os
from contextlib import suppress
from dataclasses import dataclass

from vqkit.coding.workers import Outcome

__all__ = ["Total"]


@dataclass
class Total:
    """Counts of outcomes and bytes of a folder.

    Attributes:
        files: number of files that were made.
        seconds: duration of their sound and video.
        bytes: size of the ``.vqk`` files.
        uncoded_bytes: size of the other files they were made of, or made to.
        skipped: number of files whose targets existed.
        failed: number of files that could not be made.
        damaged: number of files that were made of a damaged file; they count as made, too.
        passed_over: number of entries of the folder that are no file, or of no known kind.

    Example:
        >>> print(Total(files=2, seconds=3.5, bytes=1000, uncoded_bytes=112000, failed=1))
        total: 2 files, 3.500 s, 1000 bytes for 112000, ratio 112.0; 1 failed
    """

    files: int = 0
    seconds: float = 0.0
    bytes: int = 0
    uncoded_bytes: int = 0
    skipped: int = 0
    failed: int = 0
    damaged: int = 0
    passed_over: int = 0

    @property
    def found(self) -> int:
        """Number of files that there were to do."""
        return self.files + self.skipped + self.failed

    @property
    def ratio(self) -> float | None:
        """Compression ratio: bytes of the other files for each byte of ``.vqk``; None without any."""
        return self.uncoded_bytes / self.bytes if self.bytes else None

    def add(self, outcome: Outcome) -> None:
        """Count one more outcome."""
        job, coded = outcome.job, outcome.coded
        self.passed_over += bool(job.passed_over)
        self.skipped += job.exists
        self.failed += bool(outcome.error)
        if coded is None:
            return
        self.files += 1
        self.damaged += bool(coded.warnings)
        self.seconds += coded.duration
        self.bytes += coded.bytes
        sizes = 0
        for path in (job.source, job.target):
            with suppress(OSError):  # somebody may have moved it already
                sizes += os.stat(path).st_size
        self.uncoded_bytes += max(0, sizes - coded.bytes)  # one of the two is the .vqk file

    def record(self) -> dict[str, float | int | None]:
        """Return the numbers for programs."""
        return {**vars(self), "ratio": self.ratio}

    def __str__(self) -> str:
        parts = [f"{self.files} file{'s' * (self.files != 1)}"]
        if self.seconds:
            parts.append(f"{self.seconds:.3f} s")
        if self.ratio is not None:
            parts.append(f"{self.bytes} bytes for {self.uncoded_bytes}, ratio {self.ratio:.1f}")
        counts = {
            "skipped": self.skipped,
            "failed": self.failed,
            "damaged": self.damaged,
            "passed over": self.passed_over,
        }
        return "; ".join(
            [f"total: {', '.join(parts)}", *(f"{number} {name}" for name, number in counts.items() if number)]
        )

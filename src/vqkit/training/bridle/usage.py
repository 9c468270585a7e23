"""How the codebooks of a pretraining are used: counted over so many steps, logged, and kept for the report.

References:
    BRIDLE, appendix D, equations 29–31, table 6 and figure 3.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqkit.files import write_whole
from vqkit.metrics.usage import CodebookUsage
from vqkit.quantize import Quantizer
from vqkit.types import Int

__all__ = ["USAGE_FILE", "UsageLog"]

USAGE_FILE = "usage.json"
_MOST_HISTOGRAMS = 16  # codes a position whose counts are kept one by one
_MOST_CODES = 1 << 16  # alphabets beyond it are not counted code by code


class UsageLog:
    """Counts codes, and turns the counts of every so many steps into a record.

    A record is JSON: ``step``, ``phase``, ``stages`` (usage, entropy in bits, ECU and the published code's ECU of each stage) and the same
    of all ``pooled``. The last record of every phase keeps its ``histograms`` as well.

    Args:
        quantizer: whose codes are counted.
        every: steps of a record.
    """

    def __init__(self, quantizer: Quantizer, every: int) -> None:
        self.every, self.records = every, list[dict[str, Any]]()
        sizes = quantizer.code_sizes
        self.counted = max(sizes) <= _MOST_CODES
        self._usage = CodebookUsage(sizes, quantizer.codes_per_stage) if self.counted else None

    def update(self, codes: Int[Tensor, "*places codes"], step: int, phase: str, last: bool) -> dict[str, float]:
        """Count the codes of a step.

        Args:
            codes: −1 is not counted.
            step: counted from 0.
            phase: name of its phase.
            last: whether it is the phase's last step, which ends a record in any case.

        Returns:
            What is to be logged; nothing until a record is complete.
        """
        if self._usage is None:
            return {}
        self._usage = self._usage.to(codes.device)
        self._usage.update(codes)
        if (step + 1) % self.every and not last:
            return {}
        report = self._usage.compute().to_dict()
        counts = [part.tolist() for part in self._usage.usage_counts.cpu().split(list(self._usage.code_sizes))]
        self._usage.reset()
        record = {"step": step + 1, "phase": phase, "pooled": report["pooled"], "stages": report["per_stage"]}
        for older in self.records:
            if older["phase"] == phase:
                older.pop("histograms", None)
        self.records.append({**record, "histograms": counts[:_MOST_HISTOGRAMS]})
        found = {}
        for number, use in enumerate(report["per_stage"][:_MOST_HISTOGRAMS], 1):
            for name in ("usage", "entropy_bits", "ecu"):
                if use[name] is not None:
                    found[f"stage{number}_{name}"] = use[name]
        return found

    def write(self, folder: Path) -> None:
        """Write all records into a folder."""
        write_whole(folder / USAGE_FILE, (json.dumps(self.records, indent=1) + "\n").encode())

    def state(self) -> dict[str, Any]:
        """Records and counts, for a checkpoint."""
        counts = torch.zeros(0) if self._usage is None else self._usage.usage_counts.cpu().clone()
        return {"records": json.dumps(self.records), "counts": counts}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.records = json.loads(state["records"])
        if self._usage is not None:
            self._usage.usage_counts = state["counts"].clone()
            self._usage._update_count = 1  # it has been updated, before the interruption

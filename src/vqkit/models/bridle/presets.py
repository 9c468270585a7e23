"""Sizes that work: ``base`` as published, ``small``, and ``tiny`` for two cores."""

from typing import Any

from vqkit.models.bridle.stack import Stack
from vqkit.quantize import RVQ, Quantizer

__all__ = ["PRESETS", "preset_arguments"]

_SIZES = {
    "tiny": {"encoder": Stack(128, 3, 4), "predictor": Stack(96, 1, 4), "estimator": Stack(96, 1, 4)},
    "small": {"encoder": Stack(384, 8, 6), "predictor": Stack(256, 4, 8), "estimator": Stack(384, 2, 6)},
    "base": {"encoder": Stack(768, 12, 12), "predictor": Stack(512, 16, 16), "estimator": Stack(768, 3, 12)},
}
_CODES = {"tiny": (64, 128), "small": (128, 256), "base": (256, 256)}  # length of a code, codes a stage
_STAGES = 4
# A short tokenizer phase moves its latents faster than averages over 100 steps follow: the first codebook fell to 4 % of its codes. The
# published settings are for phases of many thousands of steps.
_LEARNING: dict[str, dict[str, Any]] = {
    "tiny": {"decay": 0.9, "revive": "restart"},
    "small": {"decay": 0.9, "revive": "restart"},
    "base": {"decay": 0.99, "revive": "none"},
}
_SIGNALS: dict[str, dict[str, dict[str, Any]]] = {
    "audio": {
        "tiny": {"size": (512, 128), "patch": (16, 16)},
        "small": {"size": (1024, 128), "patch": (16, 16)},
        "base": {"size": (1024, 128), "patch": (16, 16), "windows": (4, 4)},
    },
    "image": {
        "tiny": {"size": (32, 32), "patch": (4, 4), "channels": 3},
        "small": {"size": (96, 96), "patch": (8, 8), "channels": 3},
        "base": {"size": (224, 224), "patch": (16, 16), "channels": 3},
    },
    "video": {
        "tiny": {"size": (8, 64, 64), "patch": (2, 8, 8), "channels": 3},
        "small": {"size": (16, 112, 112), "patch": (2, 16, 16), "channels": 3},
        "base": {
            "size": (16, 224, 224),
            "patch": (2, 16, 16),
            "channels": 3,
            "predictor": Stack(384, 4, 6),
            "estimator": Stack(384, 4, 6),
        },
    },
}
PRESETS = tuple(f"{modality}-{size}" for modality in _SIGNALS for size in _SIZES)


def preset_arguments(name: str, quantizer: Quantizer | None, options: dict[str, Any] | None) -> dict[str, Any]:
    """Arguments of `Bridle`; see `vqkit.models.bridle.preset`.

    Raises:
        ValueError: an unknown name.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there is {', '.join(PRESETS)}")
    modality, _, size = name.partition("-")
    dim, codes = _CODES[size]
    if quantizer is None:
        quantizer = RVQ(dim, codes, _STAGES, **_LEARNING[size])
    sizes = {**_SIZES[size], **_SIGNALS[modality][size], **(options or {})}
    return {"modality": modality, "quantizer": quantizer, **sizes}

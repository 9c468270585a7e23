"""A published network in a local folder, as the adapters load it: safetensors only, complete, known by its digest.

Conventions:
    The folder is what ``huggingface_hub`` downloads or ``save_pretrained`` writes: ``config.json``,
    ``preprocessor_config.json`` and ``model.safetensors``. Nothing is fetched, and no pickle is opened.

Metrics:
    None: :mod:`vqkit.metrics.ast_classifier` and ``xvector`` begin here.
"""

import hashlib
import warnings
from pathlib import Path
from typing import Any

from vqkit.saved import check_described, check_finite
from vqkit.types import need

__all__ = ["load_model", "model_settings"]

_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


def load_model(folder: Path | str, model: str, extractor: str) -> tuple[Any, Any]:
    """Load a network of transformers and the extractor of its features.

    Args:
        folder: folder with the three files.
        model: class of the network in transformers.
        extractor: class of the feature extractor.

    Returns:
        The network, in evaluation mode and without gradients, and the extractor.

    Raises:
        FileNotFoundError: the folder or one of its files is not there.
        ValueError: the weights leave a part of the network at random, the config asks for more than they hold, or one is NaN or Inf.
    """
    folder = Path(folder)
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} has no {', '.join(missing)}; a local folder needs {', '.join(_FILES)}")
    transformers = need("transformers", "eval")
    kind = getattr(transformers, model)
    config, weights = folder / "config.json", folder / "model.safetensors"
    check_described(config, weights, lambda described: kind(kind.config_class.from_dict(described)))
    network, info = kind.from_pretrained(folder, local_files_only=True, use_safetensors=True, output_loading_info=True)
    if info["missing_keys"]:  # transformers only warns, and a random head would give numbers all the same
        names = ", ".join(sorted(info["missing_keys"])[:3])
        raise ValueError(f"{folder} does not hold a complete {model}: there are no weights for {names}")
    check_finite(network, weights)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filter has all zero values")  # AST's 128 mels, as published
        features = getattr(transformers, extractor).from_pretrained(folder, local_files_only=True)
    return network.eval().requires_grad_(False), features


def model_settings(folder: Path | str) -> dict[str, Any]:
    """Return the settings that identify a set of weights.

    Args:
        folder: folder, as of :func:`load_model`.

    Returns:
        The folder's name and the digest of its weights.
    """
    with (Path(folder) / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"weights": Path(folder).resolve().name, "sha256": digest}

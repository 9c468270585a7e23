"""Published checkpoints of transformers' codecs, safetensors only."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import cached_file, logging

from vqkit.saved import CONFIG, WEIGHTS, check_described, check_finite

__all__ = ["read_checkpoint"]


def read_checkpoint(kind: type[PreTrainedModel], name: str | Path, called: str) -> Any:
    """Load a model whose encoder and decoder are all there; its quantizer does not matter.

    Args:
        kind: transformers' class.
        name: a folder with ``config.json`` and ``model.safetensors``, or the name of a repository on the hub.
        called: the codec's name, with its article, for messages.

    Returns:
        The model.

    Raises:
        ValueError: it cannot be read as such a checkpoint in safetensors, its config asks for more than the weights hold, or a weight is
            NaN or Inf.
    """
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        config, weights = (_found(name, file) for file in (CONFIG, WEIGHTS))
        settings: Any = kind.config_class
        check_described(config, weights, lambda described: kind(settings.from_dict(described)))
        loaded: Any = kind.from_pretrained(str(name), use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{name} is not {called} checkpoint in safetensors: {reason}") from None
    finally:
        if shown:
            logging.enable_progress_bar()
    model, report = loaded
    check_finite(model, weights)
    missing = sorted(key for key in report["missing_keys"] if key.startswith(("encoder.", "decoder.")))
    if missing:
        raise ValueError(f"{name} lacks {len(missing)} weights of {called} encoder and decoder, first {missing[0]}")
    return model


def _found(name: str | Path, file: str) -> Path:
    if Path(name).is_dir() and not (Path(name) / file).is_file():
        raise OSError(f"no file named {file}")
    return Path(str(cached_file(str(name), file)))

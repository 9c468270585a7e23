"""Published checkpoints of transformers' codecs, safetensors only."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import logging

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
        ValueError: it cannot be read as such a checkpoint in safetensors.
    """
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        loaded: Any = kind.from_pretrained(str(name), use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"{name} is not {called} checkpoint in safetensors: {reason}") from None
    finally:
        if shown:
            logging.enable_progress_bar()
    model, report = loaded
    missing = sorted(key for key in report["missing_keys"] if key.startswith(("encoder.", "decoder.")))
    if missing:
        raise ValueError(f"{name} lacks {len(missing)} weights of {called} encoder and decoder, first {missing[0]}")
    return model

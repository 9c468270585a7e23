"""Fine-tuning: a run that begins with the weights of a trained model."""

import torch
from safetensors.torch import load_file

from vqkit.modality import IMAGE, SOUND
from vqkit.models.hub import HubModel
from vqkit.models.image.tokenizer import SHIPPED as SHIPPED_TOKENIZER
from vqkit.models.loading import SHIPPED as SHIPPED_CODEC
from vqkit.models.loading import shipped_folder
from vqkit.quantize.codebook import Codebook
from vqkit.saved import WEIGHTS, read_shapes

__all__ = ["start_from"]


@torch.no_grad()
def start_from(model: HubModel, name: str) -> None:
    """Copy the weights of a saved model into one that is to be trained, in float32.

    Moving averages of codebooks that the saved model does not have (a model that ships is saved without them) begin at its codes.

    Args:
        model: model of the same class and sizes; how its codebooks learn may differ.
        name: a folder of ``save_pretrained``, the name of a model that ships with vqkit (see `vqkit.models.loading.shipped_folder`), or
            ``"shipped"`` for the default one of that kind.

    Raises:
        ValueError: the folder holds no model, or its weights have other names or shapes, or are NaN or Inf.
    """
    shipped = SHIPPED_TOKENIZER if getattr(model, "modality", SOUND) is IMAGE else SHIPPED_CODEC
    folder = shipped if name == "shipped" else shipped_folder(name) or type(model).saved_folder(name)
    held = read_shapes(folder / WEIGHTS)
    own = model.state_dict()
    learning = {
        f"{prefix}.{key}"
        for prefix, part in model.named_modules()
        if isinstance(part, Codebook)
        for key in ("ema_count", "ema_sum")
    }
    strange = sorted((own.keys() - learning) ^ (held.keys() - learning))
    strange += sorted(key for key in own.keys() & held.keys() if tuple(own[key].shape) != held[key][1])
    if strange:
        raise ValueError(f"the model in {folder} does not fit the one to be trained: {strange[0]} differs")
    saved = load_file(folder / WEIGHTS)
    for key, value in saved.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{folder / WEIGHTS}: {key} holds NaN or Inf")
    model.load_state_dict({key: value.to(own[key].dtype) for key, value in saved.items() if key in own}, strict=False)
    for part in model.modules():
        if isinstance(part, Codebook) and part.ema_sum is not None and part.ema_count is not None:
            part.ema_count.fill_(1)
            part.ema_sum.copy_(part.weight)

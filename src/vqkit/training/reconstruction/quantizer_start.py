"""Fit a model's quantizer to what its encoder makes of the training data."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vqkit.models.hub import HubModel
from vqkit.models.input_checks import home
from vqkit.nn import balanced_rotation
from vqkit.ranks import follow_first_rank

__all__ = ["fit_quantizer"]

_VECTORS = 1 << 14  # four for each of 4096 codes, and seconds of k-means
_BATCH = 16  # items encoded at once


@torch.no_grad()
def fit_quantizer(model: HubModel, items: "Dataset[Tensor]", *, vectors: int = _VECTORS, seed: int = 0) -> None:
    """Turn the latent so that its pieces are balanced, and fit the quantizer to it, on the first items of a data set.

    The latent of a model that is not `rotatable` is left as it is. Every rank ends with rank 0's weights.

    Args:
        model: its ``analyze`` makes the latents, its quantizer is fitted; both keep their mode.
        items: waveforms (channels, samples) or images (channels, height, width) of one shape, at least one.
        vectors: about how many latents are used.
        seed: seed of the fit, the same as in `Quantizer.fit`.

    Raises:
        ValueError: as in `Quantizer.fit`.
    """
    device = home(model).device
    with torch.autocast(device.type, enabled=False):  # a rotation in bfloat16 is none
        _fit(model, items, vectors, seed, device)
    follow_first_rank(model)


def _fit(model: Any, items: "Dataset[Tensor]", vectors: int, seed: int, device: torch.device) -> None:
    found: list[Tensor] = []
    for start in range(0, len(items), _BATCH):  # type: ignore[arg-type]  # map-style: it has a length
        batch = torch.stack([items[i] for i in range(start, min(start + _BATCH, len(items)))])  # type: ignore[arg-type]
        found.append(model.analyze(batch.to(device)).flatten(end_dim=-2))
        if sum(map(len, found)) >= vectors:
            break
    latents = torch.cat(found)
    if model.rotatable and len(latents) > model.quantizer.dim:
        rotation = balanced_rotation(latents)
        model.rotate_latent(rotation)
        latents = latents @ rotation
    model.quantizer.fit(latents, seed=seed)

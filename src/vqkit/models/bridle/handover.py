"""Export of the encoder as a model of transformers, for code written against that library."""

from typing import Any

import torch
from torch import Tensor
from transformers import VideoMAEModel, ViTModel

__all__ = ["to_transformers"]


def to_transformers(bridle: Any) -> ViTModel | VideoMAEModel:
    """Copy the weights of the encoder of a `Bridle`.

    Returns:
        ``ViTModel`` (its input are normalised spectrograms (batch, 1, frames, mels) or images, what `Bridle.front` gives; its first output
        vector is the class token's) or ``VideoMAEModel`` (its input is (batch, frames, channels, height, width), normalised).

    Raises:
        ValueError: the encoder has a convolutional stem, which these models have not.
    """
    encoder, video = bridle.encoder, bridle.modality == "video"
    if encoder.stem:
        raise ValueError(f"ViTModel has no convolutional stem, this encoder has one of {encoder.stem} filters")
    options: dict[str, Any] = {"num_channels": bridle.channels}
    if video:
        frames, *size = bridle.size
        tubelet, *patch = bridle.patch
        options |= {"image_size": size, "patch_size": patch, "num_frames": frames, "tubelet_size": tubelet}
        model: Any = VideoMAEModel(encoder.stack.config(True, use_mean_pooling=False, **options))
        # VideoMAE's table is no parameter, and the same as ours
    else:
        config = encoder.stack.config(False, image_size=list(bridle.size), patch_size=list(bridle.patch), **options)
        model = ViTModel(config, add_pooling_layer=False)
    model.load_state_dict(_renamed(encoder, video))
    return model.to(encoder.norm.weight.device).eval()


def _renamed(encoder: Any, video: bool) -> dict[str, Tensor]:
    weight = encoder.embedding.weight
    prefix = "encoder.layer." if video else "layers."
    state = {
        "embeddings.patch_embeddings.projection.weight": _kernel(encoder, video, weight),
        "embeddings.patch_embeddings.projection.bias": encoder.embedding.bias,
        "layernorm.weight": encoder.norm.weight,
        "layernorm.bias": encoder.norm.bias,
        **{prefix + key: value for key, value in encoder.blocks.layers.state_dict().items()},
    }
    if not video:
        places = encoder.positions.on(weight.device)
        state["embeddings.cls_token"] = encoder.cls_token
        state["embeddings.position_embeddings"] = torch.cat([torch.zeros_like(places[:1]), places])[None]
    return {key: value.detach() for key, value in state.items()}


def _kernel(encoder: Any, video: bool, weight: Tensor) -> Tensor:
    return weight.reshape(len(weight), encoder.channels, *encoder.patch)

"""A quantizer of ours in the place of another library's: what all such adapters keep, so that everything can be put back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vqkit.quantize import Quantizer

__all__ = ["QuantizerAdapter"]


class QuantizerAdapter(nn.Module):
    """A quantizer, beside it the module that it replaces, and the settings of the model that have changed with it.

    Args:
        quantizer: ours; it moves to the model's device and keeps its dtype.
        replaced: the module in whose place it comes. Of another adapter what that one replaced is taken.
        before: settings of the model, by name, as they were with its own quantizer.
        like: a weight of the model beside the quantizer.
    """

    latent: Tensor

    def __init__(self, quantizer: Quantizer, replaced: nn.Module, before: Mapping[str, Any], like: Tensor) -> None:
        super().__init__()
        self.quantizer = quantizer
        if isinstance(replaced, QuantizerAdapter):
            self.__dict__.update(_original=replaced.original, _before=replaced.before)
        else:
            self.__dict__.update(_original=replaced, _before=dict(before))  # no submodule: neither trained nor saved
        # follows the model's dtype, which decoded vectors must have; the quantizer may have another
        self.register_buffer("latent", torch.empty(0, dtype=like.dtype), persistent=False)
        self.to(like.device)
        self.train(replaced.training)

    @property
    def original(self) -> nn.Module:
        """The model's own quantizer."""
        original: nn.Module = self.__dict__["_original"]
        return original

    @property
    def before(self) -> dict[str, Any]:
        """Settings of the model with its own quantizer."""
        before: dict[str, Any] = self.__dict__["_before"]
        return before

    def restored(self, like: Tensor) -> nn.Module:
        """The model's own quantizer, on the device and in the dtype of one of its weights, which may have moved meanwhile."""
        return self.original.to(like.device, like.dtype).train(self.training)

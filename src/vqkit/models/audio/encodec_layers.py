"""EnCodec's convolution with its sizes as plain numbers.

transformers keeps stride, kernel and padding in buffers outside of the state dict, which its own loader makes anew. Any other way through
the meta device (``to_empty``, FSDP) leaves arbitrary numbers there, and on a GPU every padding waits for the device.
"""

from typing import TypeVar

from torch import Tensor, nn
from transformers.models.encodec.modeling_encodec import EncodecConv1d

__all__ = ["PlainConv1d", "with_plain_numbers"]

Network = TypeVar("Network", bound=nn.Module)


class PlainConv1d(EncodecConv1d):
    """An ``EncodecConv1d`` that takes its sizes from the convolution inside."""

    @property
    def stride(self) -> int:  # type: ignore[override]
        """Step in samples."""
        return int(self.conv.stride[0])

    @property
    def kernel_size(self) -> int:  # type: ignore[override]
        """Samples that an output sees, from the first to the last."""
        return int((self.conv.kernel_size[0] - 1) * self.conv.dilation[0] + 1)

    @property
    def padding_total(self) -> int:  # type: ignore[override]
        """Padding at both ends together, for a signal of whole strides."""
        return self.kernel_size - self.stride

    def _get_extra_padding_for_conv1d(self, hidden_states: Tensor) -> int:  # type: ignore[override]
        samples = hidden_states.shape[-1]
        return (samples + self.stride - 1) // self.stride * self.stride - samples


def with_plain_numbers(network: Network) -> Network:
    """Make every ``EncodecConv1d`` within a network a `PlainConv1d`, in place.

    Example:
        >>> from transformers import EncodecConfig
        >>> from transformers.models.encodec.modeling_encodec import EncodecEncoder
        >>> encoder = EncodecEncoder(EncodecConfig(num_filters=2, upsampling_ratios=[2, 2]))
        >>> len(list(encoder.buffers())) > 20, len(list(with_plain_numbers(encoder).buffers()))
        (True, 0)
    """
    for module in network.modules():
        if type(module) is EncodecConv1d:
            for name in ("stride", "kernel_size", "padding_total"):
                delattr(module, name)
            module.__class__ = PlainConv1d
    return network

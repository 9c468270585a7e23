"""ConvNeXt's block on sequences: mix in time channel by channel, then mix the channels frame by frame.

References:
    Liu et al., "A ConvNet for the 2020s" (2022), arXiv:2201.03545, figure 4; Siuzdak, "Vocos" (2023), arXiv:2306.00814, section 3.2
    (one-dimensional, at one frame rate).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqkit.nn.fast_linear import fast_linear, takes_onednn
from vqkit.nn.streaming_convolution import StreamingConvolution
from vqkit.nn.streaming_layer import Chain, Pointwise, ResidualSum
from vqkit.types import Float

__all__ = ["ConvNeXtBlock"]


class ConvNeXtBlock(nn.Module):
    """``x + gain · MLP(norm(depthwise(x)))``.

    Args:
        dim: channels.
        expansion: width of the MLP over dim.
        kernel: frames that the depthwise convolution sees; odd.
        causal: whether the convolution sees no future.
        gain: start of the learned factor of each channel.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> ConvNeXtBlock(8)(torch.randn(2, 8, 30)).shape
        torch.Size([2, 8, 30])
    """

    def __init__(
        self, dim: int, *, expansion: int = 3, kernel: int = 7, causal: bool = False, gain: float = 0.3
    ) -> None:
        super().__init__()
        if dim < 1 or expansion < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                f"dim and expansion must be at least 1 and kernel odd, got {dim}, {expansion} and {kernel}"
            )
        self.pad = (kernel - 1, 0) if causal else (kernel // 2, kernel // 2)
        self.depthwise = nn.Conv1d(dim, dim, kernel, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, expansion * dim)
        self.narrow = nn.Linear(expansion * dim, dim)
        self.gain = nn.Parameter(torch.full((dim,), gain))

    def forward(self, x: Float[Tensor, "batch dim frames"]) -> Float[Tensor, "batch dim frames"]:
        """The outputs, as many frames as given; behind the ends there is silence."""
        rows = x.transpose(1, 2)
        if takes_onednn(self.widen, rows) and takes_onednn(self.narrow, rows) and not self.training:
            return self._frames_first(rows).transpose(1, 2)
        return self._plain(x)

    def _plain(self, x: Tensor) -> Tensor:
        return x + self._mix(self.depthwise(functional.pad(x, self.pad)))

    def _frames_first(self, rows: Tensor) -> Tensor:
        """The same of (batch, frames, dim), which all layers read in the order of memory: blocks in a row then copy nothing."""
        rows = rows.contiguous()
        padded = functional.pad(rows, (0, 0, *self.pad))
        # as an image one pixel high that has its channels last: oneDNN has a kernel for that, but none for a sequence
        image = padded.transpose(1, 2)[:, :, None]
        mixed = functional.conv2d(image, self.depthwise.weight[:, :, None], self.depthwise.bias, groups=rows.shape[-1])
        hidden = functional.gelu(fast_linear(self.widen, self.norm(mixed[:, :, 0].transpose(1, 2))))
        return torch.addcmul(rows, self.gain, fast_linear(self.narrow, hidden))

    def streaming(self) -> ResidualSum:
        """The same in blocks, with the weights of now."""
        convolution = StreamingConvolution(
            self.depthwise.weight.detach(),
            None if self.depthwise.bias is None else self.depthwise.bias.detach(),
            pad_left=self.pad[0],
            pad_right=self.pad[1],
            pad_mode="constant",
            groups=self.depthwise.groups,
        )
        return ResidualSum(Chain([convolution, Pointwise(self._mix)]), Pointwise(nn.Identity()))

    def _mix(self, x: Tensor) -> Tensor:
        hidden = functional.gelu(fast_linear(self.widen, self.norm(x.transpose(1, 2))))
        return (self.gain * fast_linear(self.narrow, hidden)).transpose(1, 2)

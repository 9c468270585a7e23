import numpy as np
import pytest
import torch
from torch.nn import functional

from vqkit.nn.streaming_convolution import StreamingConvolution, StreamingTransposedConvolution, pad_ends

NUMPY_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_blocks(layer, x, size):
    blocks = [layer.push(block) for block in x.split(size, dim=-1)]
    assert [layer.ready(min(x.shape[-1], size * (i + 1))) for i in range(len(blocks))] == np.cumsum(
        [block.shape[-1] for block in blocks]
    ).tolist()
    return torch.cat([*blocks, layer.push(x[..., :0], last=True)], dim=-1)


@pytest.mark.parametrize("mode", NUMPY_MODES)
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "left"), [(7, 1, 1, 6), (7, 1, 1, 3), (6, 3, 1, 3), (6, 3, 1, 2), (3, 1, 4, 8)]
)
def test_convolution_in_blocks_is_numpys_of_the_whole(mode, kernel, stride, dilation, left):
    weight, bias, x = noise(3, 2, kernel), noise(3), noise(2, 2, 31, seed=1)
    span = (kernel - 1) * dilation + 1
    right = span - stride - left
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (left, right + -31 % stride)), NUMPY_MODES[mode])
    taps = np.lib.stride_tricks.sliding_window_view(padded, span, axis=-1)[:, :, ::stride, ::dilation]
    expected = np.einsum("bitk,oik->bot", taps, weight.numpy()) + bias.numpy()[:, None]
    for size in (1, 2, 5, 30, 31):
        layer = StreamingConvolution(
            weight, bias, stride=stride, dilation=dilation, pad_left=left, pad_right=right, pad_mode=mode
        )
        np.testing.assert_allclose(in_blocks(layer, x, size).numpy(), expected, atol=1e-12)


def test_signals_too_short_to_be_reflected_are_taken_as_followed_by_zeros():
    x = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert pad_ends(x, 2, 1, "reflect").tolist() == [[[3, 2, 1, 2, 3, 2]]]
    assert pad_ends(x, 5, 0, "reflect").tolist() == [[[0, 0, 0, 3, 2, 1, 2, 3]]]
    layer = StreamingConvolution(torch.tensor([[[1.0, 0, 0, 0, 0, 0]]]), None, pad_left=5, pad_mode="reflect")
    assert not layer.push(x[..., :2]).numel()
    assert layer.push(x[..., 2:], last=True).tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize(
    ("kernel", "stride", "left", "right"), [(8, 4, 0, 4), (8, 4, 2, 2), (10, 5, 3, 2), (7, 2, 1, 0), (3, 3, 0, 0)]
)
def test_transposed_convolution_in_blocks_is_pytorchs_of_the_whole(kernel, stride, left, right):
    weight, bias, x = noise(2, 3, kernel), noise(3), noise(2, 2, 13, seed=1)
    expected = functional.conv_transpose1d(x, weight, bias, stride=stride)
    expected = expected[..., left : expected.shape[-1] - right]
    for size in (1, 2, 5, 13):
        layer = StreamingTransposedConvolution(weight, bias, stride=stride, trim_left=left, trim_right=right)
        torch.testing.assert_close(in_blocks(layer, x, size), expected, atol=1e-12, rtol=0)


def test_no_memory_is_held_but_what_is_needed():
    layer = StreamingConvolution(torch.zeros(1, 1, 7), None, pad_left=6)
    turned = StreamingTransposedConvolution(torch.zeros(1, 1, 4), None, stride=2, trim_right=2)
    for _ in range(3):
        turned.push(layer.push(torch.zeros(1, 1, 100_000)))
        held = [tensor.untyped_storage().nbytes() // 4 for tensor in [*layer.state(), *turned.state()]]
        assert held == [6, 1]


def test_circular_padding_is_refused():
    with pytest.raises(ValueError, match="pad_mode must be one of constant, reflect, replicate, got 'circular'"):
        StreamingConvolution(torch.zeros(1, 1, 3), None, pad_mode="circular")

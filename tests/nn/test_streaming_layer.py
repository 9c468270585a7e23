import pytest
import torch
from torch import nn

from vqkit.nn.streaming_convolution import StreamingConvolution
from vqkit.nn.streaming_layer import Chain, Pointwise, Recurrent, ResidualSum


@pytest.mark.parametrize("sizes", [(30,), (1,) * 30, (8, 1, 9, 12), (0, 20, 0, 10)])
def test_recurrent_carries_its_state(sizes):
    torch.manual_seed(0)
    lstm, x = nn.LSTM(5, 5, 2).double(), torch.randn(3, 5, 30, dtype=torch.float64)
    layer = Recurrent(lstm)
    with torch.no_grad():
        expected = lstm(x.permute(2, 0, 1))[0].permute(1, 2, 0) + x
        blocks = torch.cat([layer.push(block) for block in x.split(sizes, dim=-1)], dim=-1)
    torch.testing.assert_close(blocks, expected, atol=1e-12, rtol=0)
    assert [tuple(tensor.shape) for tensor in layer.state()] == [(2, 3, 5), (2, 3, 5)]


def test_the_shortcut_waits_for_a_branch_that_sees_the_future():
    ahead = StreamingConvolution(torch.tensor([[[0.0, 0.0, 1.0]]]), None, pad_left=1, pad_right=1, pad_mode="constant")
    layer = Chain([ResidualSum(ahead, Pointwise(nn.Identity())), Pointwise(nn.ReLU())])
    x = torch.tensor([[[1.0, 2.0, -4.0, 3.0]]])
    got = [layer.push(block, last).tolist()[0][0] for block, last in [(x[..., :3], False), (x[..., 3:], True)]]
    assert got == [[3, 0], [0, 3]]  # x(t) + x(t + 1), with zero behind the end
    assert [layer.ready(time) for time in (0, 1, 3)] == [0, 0, 2]

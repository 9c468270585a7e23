import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from vqkit.nn import scale_convolutions


def stack(norm):
    torch.manual_seed(0)
    wrap = weight_norm if norm else (lambda layer: layer)
    return nn.Sequential(
        wrap(nn.Conv1d(1, 6, 7)), nn.ELU(), wrap(nn.Conv1d(6, 8, 4, 2)), nn.ELU(), wrap(nn.ConvTranspose1d(8, 2, 4, 2))
    )


@pytest.mark.parametrize("norm", [False, True])
def test_every_layer_comes_out_at_unit_scale(norm):
    model, x = stack(norm), 0.1 * torch.randn(3, 1, 200)
    parameters = list(model.parameters())
    assert scale_convolutions(model, lambda: model(x)) == 3
    assert all(one is other for one, other in zip(parameters, model.parameters(), strict=True))
    for layer in model:
        x = layer(x)
        if not isinstance(layer, nn.ELU):
            assert x.std().item() == pytest.approx(1, abs=1e-3)
            assert not layer.bias.any()


def test_statistics_are_averaged_by_the_given_function():
    model, x = nn.Conv1d(1, 4, 3), torch.randn(3, 1, 200)
    scale_convolutions(model, lambda: model(x), mean=lambda moments: moments * 4)  # as if others were louder
    plain = nn.Conv1d(1, 4, 3)
    plain.load_state_dict(model.state_dict())
    assert plain(x).std().item() == pytest.approx(0.5, rel=0.05)


def test_silence_is_refused_and_changes_nothing():
    model = stack(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="cannot scale the convolutions on this batch: a layer's output is constant"):
        scale_convolutions(model, lambda: model(torch.zeros(1, 1, 100)))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(layer._forward_hooks for layer in model)

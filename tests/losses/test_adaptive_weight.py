import pytest
import torch
from torch import distributed, multiprocessing, nn

from vqkit.losses import adaptive_weight


def test_equals_the_norms_of_separate_backward_passes():
    torch.manual_seed(0)
    decoder, judge = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6)), nn.Linear(6, 1)
    x, target = torch.randn(5, 4), torch.randn(5, 6)
    norms = []
    for loss in (lambda y: (y - target).abs().mean(), lambda y: -judge(y).mean()):
        decoder.zero_grad()
        loss(decoder(x)).backward()
        norms.append(decoder[-1].weight.grad.double().pow(2).sum().sqrt().item())
    output = decoder(x)
    reconstruction, adversarial = (output - target).abs().mean(), -judge(output).mean()
    value = adaptive_weight(reconstruction, adversarial, decoder[-1].weight)
    assert value.item() == pytest.approx(norms[0] / (norms[1] + 1e-6), rel=1e-5)
    assert value.shape == ()
    assert not value.requires_grad
    (reconstruction + value * adversarial).backward()  # the graphs are still there


@pytest.mark.parametrize(("scale", "expected"), [(0.0, 1e4), (1e-7, 1 / 1.1e-6), (1e9, 1e-9)])
def test_is_clamped(scale, expected):
    weight = torch.tensor([1.0], requires_grad=True)
    value = adaptive_weight(weight.sum(), (scale * weight).sum(), weight)
    assert value.item() == pytest.approx(min(expected, 1e4), rel=1e-5)


def test_a_loss_elsewhere_is_refused():
    weight, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    with pytest.raises(
        ValueError, match=r"adversarial_loss must depend on last_layer of shape \(2,\), it has no gradient there"
    ):
        adaptive_weight(weight.sum(), other.sum(), weight)
    with pytest.raises(ValueError, match="reconstruction_loss must depend on last_layer"):
        adaptive_weight(torch.tensor(1.0), weight.sum(), weight)
    with pytest.raises(ValueError, match="reconstruction_loss must depend on last_layer"):
        adaptive_weight(other.sum(), other.sum(), torch.ones(2))  # frozen


def value(rows):
    weight = torch.tensor([1.0, -2.0], requires_grad=True)
    data = torch.tensor([[1.0, 3.0], [2.0, -1.0], [0.5, 0.25], [4.0, 4.0]])[rows]
    output = data * weight
    return adaptive_weight(output.square().mean(), output.sin().mean(), weight).item()


def work(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    (folder / f"{rank}.txt").write_text(repr(value(slice(2 * rank, 2 * rank + 2))))
    distributed.destroy_process_group()


def test_two_processes_get_the_weight_of_their_joined_batch(tmp_path):
    multiprocessing.spawn(work, args=(tmp_path,), nprocs=2)
    for rank in (0, 1):
        assert float((tmp_path / f"{rank}.txt").read_text()) == pytest.approx(value(slice(None)), rel=1e-5)

import pytest
import torch

from vqkit import RVQ
from vqkit.training import WeightAverage


def test_average_equals_the_recursion_and_leaves_the_weights_alone():
    torch.manual_seed(0)
    model = RVQ(4, 8, 1, update="ema", init="kmeans").train()
    average, expected, history = WeightAverage(decay=0.3), None, []
    for step in range(5):
        model(torch.randn(1, 50, 4))
        history.append(model.quantizer.stages[0].codebook.weight.clone())
        average.update(model)
        keep = min(0.3, (1 + step) / (10 + step))
        expected = history[-1] if expected is None else keep * expected + (1 - keep) * history[-1]
    name = "quantizer.stages.0.codebook.weight"
    torch.testing.assert_close(average.average[name], expected)
    assert average.average["quantizer.stages.0.codebook.initialized"].dtype == torch.bool
    with average.applied(model):
        torch.testing.assert_close(model.state_dict()[name], expected)
    assert torch.equal(model.state_dict()[name], history[-1])
    other = WeightAverage(decay=0.3)
    other.load_state_dict(average.state_dict())
    for one in (average, other):
        one.update(model)
    assert all(torch.equal(other.average[key], value) for key, value in average.average.items())


def test_decay_out_of_range_is_refused():
    with pytest.raises(ValueError, match="decay must be between 0 and 1, got 1"):
        WeightAverage(1)

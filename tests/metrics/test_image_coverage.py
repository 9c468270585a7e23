"""Precision, recall and nearest neighbours, against answers that a drawing gives."""

import pytest
import torch

from vqkit.metrics import coverage, nearest


def clusters(*centres, count=40):
    generator = torch.Generator().manual_seed(0)
    return torch.cat([torch.tensor(centre) + 0.1 * torch.randn(count, 2, generator=generator) for centre in centres])


def test_one_kind_of_two_is_precise_and_lacks_recall():
    real = clusters([0.0, 0.0], [9.0, 0.0])
    found = coverage(clusters([0.0, 0.0]) + 0.001, real)
    assert found.precision > 0.9
    assert 0.4 < found.recall <= 0.5


def test_nonsense_lacks_precision():
    real = clusters([0.0, 0.0])
    found = coverage(torch.cat([clusters([0.0, 0.0]), clusters([0.0, 50.0], count=40)]), real)
    assert 0.45 < found.precision <= 0.5
    assert found.recall == 1.0


def test_points_on_a_line_by_hand():
    real, made = torch.tensor([[0.0], [1.0], [4.0]]), torch.tensor([[1.5], [9.0], [4.5]])
    found = coverage(made, real, neighbours=1)  # radii of real 1, 1, 3; of made 3, 4.5, 3
    assert found.precision == pytest.approx(2 / 3)  # 1.5 and 4.5
    assert found.recall == 1.0
    assert nearest(made, real).index.tolist() == [1, 2, 2]
    assert nearest(made, real).distance.tolist() == [0.5, 5.0, 0.5]


def test_bad_embeddings_are_refused():
    with pytest.raises(ValueError, match="neighbours=3 needs more images"):
        coverage(torch.zeros(3, 2), torch.zeros(9, 2))
    with pytest.raises(ValueError, match="one length, got 2 and 3"):
        nearest(torch.zeros(3, 2), torch.zeros(9, 3))
    with pytest.raises(ValueError, match="must be finite"):
        nearest(torch.full((3, 2), torch.nan), torch.zeros(9, 2))

"""Without a process group nothing is exchanged. What several processes exchange is in tests/quantize/test_distributed.py."""

import torch
from torch import nn

from vqkit import ranks


def test_one_process_keeps_what_it_has():
    value = torch.tensor([1.0, -2.0], requires_grad=True)
    assert ranks.num_ranks() == 1
    assert ranks.own_rank() == 0
    for function in (ranks.sum_over_ranks, ranks.mean_over_ranks, ranks.max_over_ranks, ranks.from_first_rank):
        assert function(value) is value
    assert ranks.gather_ranks(value).tolist() == [[1.0, -2.0]]
    layer = nn.Linear(2, 2)
    before = layer.weight.clone()
    ranks.follow_first_rank(layer)
    assert torch.equal(layer.weight, before)

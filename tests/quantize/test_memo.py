"""What is kept from call to call follows what it was computed from."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from vqkit import IVQ, RVQ, VQ, Residual
from vqkit.quantize.memo import Memo, OfParts


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 1), (2, 5), (5, 2), (7, 3), (9, 3), (12, 4)])
def test_a_write_to_any_row_or_column_through_data_is_noticed(rows, columns):
    memo, table, calls = Memo(), torch.ones(rows, columns), []
    for row in range(rows):
        table.data[row] = 2.0 + row
        memo.of([table], lambda: calls.append(1))
        memo.of([table], lambda: calls.append(1))
        assert len(calls) == row + 1
    for column in range(min(rows, columns)):
        table.data[:, column] = -1.0
        memo.of([table], lambda: calls.append(1))
    assert len(calls) == rows + min(rows, columns)


def test_what_parts_say_is_asked_again_when_one_is_exchanged():
    memo, module = OfParts(), nn.ModuleList([nn.ModuleList([nn.Linear(2, 3)]), nn.Linear(2, 4)])

    def widths():
        return [part.out_features for part in module.modules() if isinstance(part, nn.Linear)]

    assert memo.of(module, widths) is memo.of(module, widths)
    module[0][0] = nn.Linear(2, 5)
    assert memo.of(module, widths) == [5, 4]
    module[0].append(nn.Linear(2, 7))
    assert memo.of(module, widths) == [5, 7, 4]
    del module[1]
    assert memo.of(module, widths) == [5, 7]
    for change in (
        lambda last: setattr(last, "weight", nn.Parameter(torch.zeros(9, 2))),
        lambda last: setattr(last.weight, "data", torch.zeros(8, 2)),
    ):
        change(module[0][1])
        rows = [len(part.weight) for part in module.modules() if isinstance(part, nn.Linear)]
        assert memo.of(module, lambda: [len(part.weight) for part in module[0]]) == rows
    assert copy.deepcopy(memo)._key is None
    assert pickle.loads(pickle.dumps(memo))._key is None  # noqa: S301 - its own


@pytest.mark.parametrize("make", [lambda: RVQ(8, 16, 3), lambda: IVQ(12)])
def test_a_quantizer_whose_stage_is_exchanged_takes_the_new_one(make):
    torch.manual_seed(0)
    quantizer, other = make().eval().quantizer, make().eval().quantizer
    for table in (*quantizer.codebooks, *other.codebooks):
        table.data.normal_()
    z = torch.randn(1, 20, quantizer.dim)
    quantizer.decode(quantizer.encode(z))
    quantizer.stages[1] = other.stages[1]
    codes = quantizer.encode(z)
    assert torch.equal(codes, quantizer._encode_plain(z, None))
    assert torch.equal(quantizer.decode(codes), quantizer._decode_plain(codes, quantizer.num_stages))


def test_alphabets_are_those_of_the_new_stage():
    quantizer = Residual([VQ(4, 8), VQ(4, 8)]).eval()
    codes = torch.tensor([[[7, 7]]])
    quantizer.decode(codes)
    quantizer.stages[1] = VQ(4, 5).eval()
    with pytest.raises(ValueError, match=r"code 7 at position 1 is out of range"):
        quantizer.decode(codes)


def test_a_computed_table_is_computed_at_every_call():
    """A parametrized codebook has no weight of its own that could be watched."""

    class Scaled(nn.Module):
        factor = 1.0

        def forward(self, table):
            return table * self.factor

    torch.manual_seed(0)
    quantizer, scaled = RVQ(8, 16, 2, update="gradient", init="uniform").eval(), Scaled()
    parametrize.register_parametrization(quantizer.quantizer.stages[0].codebook, "weight", scaled)
    z = torch.randn(1, 20, 8)
    quantizer.encode(z)
    scaled.factor = 100.0
    assert torch.equal(quantizer.encode(z), quantizer.quantizer._encode_plain(z, None))

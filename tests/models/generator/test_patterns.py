"""Patterns are pure and invertible, and no code is predicted from itself or a later one."""

import pytest
import torch

from vqkit import IVQ, RVQ, LooC
from vqkit.models.generator.packing import StagePacking
from vqkit.models.generator.patterns import Delay, Flat, Parallel, TokenPattern, read_pattern
from vqkit.quantize.pretrained import expression

PATTERNS = {
    "parallel": Parallel(),
    "delay": Delay(),
    "two at once": Delay([0, 0, 2]),
    "flat": Flat(),
}


@pytest.mark.parametrize("frames", [1, 2, 7])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_restore_undoes_arrange(pattern, frames):
    codes = torch.randint(0, 50, (3, frames, 3), generator=torch.Generator().manual_seed(0))
    codes[1, -1] = -1
    given = codes.clone()
    sequence = pattern.arrange(codes)
    assert torch.equal(codes, given)
    assert torch.equal(pattern.restore(sequence, frames), codes)
    assert (sequence >= 0).sum() == (codes >= 0).sum()


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_each_frame_of_each_code_lies_at_one_position_in_order(pattern):
    slots = pattern.slots(5, 3)
    for code in range(3):
        assert slots[:, code][slots[:, code] >= 0].tolist() == [0, 1, 2, 3, 4]


def test_layouts_are_those_of_the_drawing():
    def drawn(pattern):
        return [[int(x) if x >= 0 else "." for x in row] for row in pattern.slots(4, 3).T.tolist()]

    assert drawn(Parallel()) == [[0, 1, 2, 3]] * 3
    dot = "."
    assert drawn(Delay()) == [[0, 1, 2, 3, dot, dot], [dot, 0, 1, 2, 3, dot], [dot, dot, 0, 1, 2, 3]]
    assert drawn(Flat())[1] == [dot, 0, dot, dot, 1, dot, dot, 2, dot, dot, 3, dot]


def test_a_sequence_of_another_length_is_refused():
    with pytest.raises(ValueError, match="4 frames take 6 positions in Delay, got 5"):
        Delay().restore(torch.zeros(1, 5, 3, dtype=torch.long), 4)


@pytest.mark.parametrize("delays", [[1, 2], [0, 2, 1], []])
def test_wrong_delays_are_refused(delays):
    with pytest.raises(ValueError, match="delays must begin with 0 and not decrease"):
        Delay(delays)


def test_delays_of_another_number_of_codes_are_refused():
    with pytest.raises(ValueError, match="2 delays for 3 codes"):
        Delay([0, 1]).slots(4, 3)


def test_patterns_survive_saving():
    again = read_pattern(expression(Delay([0, 0, 2])))
    assert isinstance(again, Delay)
    assert again.delays == (0, 0, 2)
    assert isinstance(again, TokenPattern)
    with pytest.raises(ValueError, match="config names the"):
        read_pattern({"class": "Sideways", "arguments": {}})


QUANTIZERS = [IVQ(12, variant="bottom-up"), IVQ(12), LooC(12, 8, 4), RVQ(12, 16, 3)]


@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=["bottom-up", "yin-yang", "LooC", "RVQ"])
def test_packing_is_invertible_and_one_id_a_stage(quantizer):
    packing = StagePacking.of_stages(quantizer)
    codes = torch.stack([torch.randint(0, size, (50,)) for size in quantizer.code_sizes], dim=-1)
    codes[7] = -1
    ids = packing.pack(codes)
    assert ids.shape == (50, quantizer.num_stages)
    assert (ids[8:] < torch.tensor(packing.id_sizes)).all()
    assert torch.equal(packing.unpack(ids), codes)
    if isinstance(quantizer, IVQ):
        assert torch.equal(ids, quantizer.hexagrams(codes))


def test_a_generator_fits_a_quantizer_by_codes_stages_or_first_stages():
    ivq = IVQ(12, variant="bottom-up")
    assert StagePacking.fitting(ivq, ivq.code_sizes).groups == tuple((size,) for size in ivq.code_sizes)
    assert StagePacking.fitting(ivq, (64,) * 4).groups == StagePacking.of_stages(ivq).groups
    assert StagePacking.fitting(RVQ(12, 16, 3), (16, 16)).id_sizes == (16, 16)
    with pytest.raises(ValueError, match="the generator has ids of sizes .64, 64., the quantizer RVQ has codes of"):
        StagePacking.fitting(RVQ(12, 16, 3), (64, 64))
    with pytest.raises(ValueError, match="do not fit together"):
        StagePacking.fitting(ivq, ivq.code_sizes[:4])  # part of a stage
    with pytest.raises(ValueError, match="expected 12 codes a frame, got 11"):
        StagePacking.of_stages(ivq).pack(torch.zeros(3, 11, dtype=torch.long))

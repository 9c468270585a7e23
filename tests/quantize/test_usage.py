"""What a quantizer says of codes that it does not use."""

import re

import pytest
import torch

from vqkit import FSQ, IVQ, LFQ, PVQ, RVQ, VQ, LooC, Quantizer, usage_advice
from vqkit.quantize.usage import CodeUse


def codes_in_use(quantizer: Quantizer, used: list[int], vectors: int = 2000) -> torch.Tensor:
    """Codes of which the first so many occur at each position."""
    columns = [torch.arange(vectors) % count for count in used]
    return torch.stack(columns, dim=-1).reshape(2, -1, quantizer.num_codes)


@pytest.mark.parametrize(
    ("quantizer", "used", "line"),
    [
        (VQ(8, 64, revive="none"), [20], "VQ uses 20 of 64 codes: build it with revive='split', "),
        (VQ(8, 64, init="uniform"), [20], "VQ uses 20 of 64 codes: build it with init='kmeans', "),
        (VQ(8, 64), [47], "VQ uses 47 of 64 codes: train longer .* or take a codebook_size of about 47"),
        (
            RVQ(8, 64, 3),
            [64, 20, 30],
            "RVQ uses 20 of 64 codes at position 1, and few at 2 of 3 positions: train longer ",
        ),
        (LooC(8, 16, 4), [16, 2], "LooC uses 2 of 16 codes at position 1, .*: give each piece a codebook of its own"),
        (IVQ(24), [2] * 23 + [1], "IVQ uses 1 of 2 codes at position 23, and few at 1 of 24 positions: give each"),
        (FSQ(8, [5, 5]), [9], "FSQ uses 9 of 25 codes: take fewer levels or bits, or call fit"),
    ],
)
def test_few_codes_are_named_with_what_to_change(quantizer: Quantizer, used: list[int], line: str) -> None:
    advice = usage_advice(quantizer, codes_in_use(quantizer, used))
    assert advice is not None
    assert "\n" not in advice
    assert re.match(line, advice), advice


@pytest.mark.parametrize(
    ("quantizer", "used", "vectors"),
    [
        (VQ(8, 64, revive="none"), [48], 2000),  # three quarters are not few
        (VQ(8, 64, revive="none"), [10], 130),  # 130 vectors may not choose more than 13
        (VQ(8, 64, revive="none"), [1], 18),  # nobody can tell
        (LFQ(30, 30), [3], 2000),  # not counted code by code
        (PVQ(8, 16, 2), [16, 13], 2000),
        (LooC(8, 64, 4), [41, 60], 2000),  # one codebook: the positions together use all of it
    ],
)
def test_nothing_is_said_of_codes_in_use_or_of_too_few_vectors(
    quantizer: Quantizer, used: list[int], vectors: int
) -> None:
    assert usage_advice(quantizer, codes_in_use(quantizer, used, vectors)) is None


def test_a_stream_counts_all_its_parts_and_no_masked_code() -> None:
    quantizer = RVQ(8, 16, 2, revive="none")
    use = CodeUse(quantizer)
    for first in (0, 4, 8, 12):  # each part uses a quarter
        part = torch.stack([first + torch.arange(400) % 4, -torch.ones(400, dtype=torch.long)], dim=-1)
        use.update(part[None])
    assert use.advice() is None  # the second position never had a code: its stage was dropped
    use.update(torch.zeros(1, 400, 2, dtype=torch.long))
    assert (use.advice() or "").startswith("RVQ uses 1 of 16 codes at position 1, and few at 1 of 2 positions")


def test_a_masked_vector_is_no_use_of_code_0() -> None:
    codes = torch.cat([1 + torch.arange(1100) % 11, -torch.ones(100, dtype=torch.long)])
    assert (usage_advice(VQ(8, 16), codes[None, :, None]) or "").startswith("VQ uses 11 of 16 codes")


def test_a_collapsed_quantizer_is_named_and_the_default_is_not() -> None:
    torch.manual_seed(0)
    z = torch.randn(1, 4000, 8) + 5  # codes that start near 0 are all far away: few are the nearest of any vector
    collapsed, healthy = VQ.paper(8, 64).train(), VQ(8, 64).train()
    optimizer = torch.optim.Adam(collapsed.parameters(), 1e-3)
    for _ in range(30):
        optimizer.zero_grad()
        collapsed(z).loss.backward()
        optimizer.step()
        healthy(z)
    assert "revive='split'" in (usage_advice(collapsed, collapsed.encode(z)) or "")
    assert usage_advice(healthy, healthy.encode(z)) is None

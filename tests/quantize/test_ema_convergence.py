"""Moving averages of a codebook converge where the vectors that choose each code do (BRIDLE, proposition 3).

Proposition: let the shares of the vectors that choose code k, and their means, converge to f_k and m_k. With N vectors a step and K codes
the counts converge to N·f_k, the sums to N·f_k·m_k, and the code to their ratio with the count smoothed by ε:
(n + ε) / (Σn + Kε) · Σn. A code that nothing chooses goes to 0 in count and sum.
"""

from itertools import pairwise

import pytest
import torch

from vqkit.quantize.codebook import Codebook
from vqkit.quantize.joint import JointBatch, packed_clusters
from vqkit.quantize.joint_step import learn_together

EPSILON = 1e-5
CENTRES = torch.tensor([[4.0, 0.0], [-4.0, 1.0], [0.0, -5.0]])
COUNTS = (10, 30, 60)


def learn(book, batch, codes):
    learn_together(
        [(book, book.own_part(batch, packed_clusters(*batch.own_clusters(codes, book.num_codes))), batch, 1)]
    )


def step(number: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A step's vectors and the codes that they choose: means that move towards the centres, noise that fades."""
    codes = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    centres = CENTRES + 8 * torch.tensor([1.0, -1.0]) / (1 + number)
    noise = torch.randn(len(codes), 2, generator=generator) / (1 + number) ** 0.5
    return centres[codes] + noise, codes


def learned(decay: float, steps: int) -> Codebook:
    torch.manual_seed(0)
    book = Codebook(2, 4, update="ema", decay=decay)
    generator = torch.Generator().manual_seed(0)
    for number in range(steps):
        vectors, codes = step(number, generator)
        learn(book, JointBatch(vectors), codes)
    return book


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99])
def test_counts_sums_and_codes_converge_to_the_limits_of_proposition_3(decay):
    book = learned(decay, 1000)
    counts = torch.tensor([*COUNTS, 0.0])
    torch.testing.assert_close(book.ema_count, counts, atol=2e-2, rtol=0)
    # the means of the stream are still 8 / 1000 away from their limit, an average over 1 / (1 − decay) steps a little more
    torch.testing.assert_close(book.ema_sum[:3], counts[:3, None] * CENTRES, atol=0.05 * 60, rtol=0.01)
    smoothed = (counts + EPSILON) / (counts.sum() + 4 * EPSILON) * counts.sum()
    limit = counts[:3, None] * CENTRES / smoothed[:3, None]
    torch.testing.assert_close(book.weight[:3], limit, atol=0.05, rtol=0)


def test_a_code_that_is_never_used_fades_to_zero_count_and_sum():
    book = learned(0.9, 600)
    assert book.ema_count[3] < 1e-20
    assert book.ema_sum[3].abs().max() < 1e-20
    # 0 / (0 + ε): the code itself is 0, and finite
    assert book.weight[3].abs().max() < 1e-15


def test_the_error_shrinks_as_the_stream_converges():
    errors = [float((learned(0.9, steps).weight[:3] - CENTRES).abs().max()) for steps in (50, 200, 800)]
    assert all(later < earlier / 2 for earlier, later in pairwise(errors))


def test_the_closed_form_of_the_recursion():
    """Lemma 1: n(t) = γ^t n(0) + (1 − γ) Σ γ^(t−s) n_s, as torch computes it."""
    torch.manual_seed(0)
    book = Codebook(2, 3, update="ema", decay=0.8)
    streams = torch.randint(0, 3, (12, 40), generator=torch.Generator().manual_seed(1))
    expected = torch.tensor([40.0 / 3] * 3, dtype=torch.float64)
    book.ema_count.copy_(expected)
    for codes in streams:
        learn(book, JointBatch(torch.randn(40, 2)), codes)
    counted = torch.stack([codes.bincount(minlength=3) for codes in streams]).double()
    weights = 0.2 * 0.8 ** torch.arange(11, -1, -1, dtype=torch.float64)
    closed = 0.8**12 * expected + (weights[:, None] * counted).sum(0)
    torch.testing.assert_close(book.ema_count.double(), closed, atol=1e-4, rtol=0)

"""The examination: trace, measure, try changes, find causes."""

import copy
import inspect
from collections.abc import Iterable

import torch
from torch import Tensor

from vqkit.diagnosis.causes import find_causes
from vqkit.diagnosis.evidence import Evidence
from vqkit.diagnosis.examination import Examination
from vqkit.diagnosis.measures import code_positions, measure
from vqkit.diagnosis.probes import different_ranks, mask_leaks, padding_codes
from vqkit.diagnosis.rate import real_rates
from vqkit.diagnosis.sample import Sample, split_vectors
from vqkit.diagnosis.trace import Traces, traced
from vqkit.diagnosis.trials import Trials, run_trials
from vqkit.quantize import Quantizer
from vqkit.quantize.pretrained import leaf_options
from vqkit.types import Bool, Float

__all__ = ["Examination", "doctor"]


@torch.no_grad()
def doctor(
    quantizer: Quantizer,
    vectors: Float[Tensor, "*shape dim"] | Iterable[Tensor],
    mask: Bool[Tensor, "*shape"] | None = None,
    *,
    max_vectors: int = 1 << 14,
    trials: bool = True,
    joint: bool = False,
) -> Examination:
    """Examine a quantizer on vectors: what is wrong with it, why, and what a change would gain.

    Changes are tried on copies that are fitted to one half of the vectors and judged by the other; the quantizer, and the state of the
    random generators, stay as they are.

    Args:
        quantizer: Any; it is examined as it is in evaluation.
        vectors: What it quantizes, as `Quantizer.fit` takes it: (batch, *spatial, dim), in the order of the signal if there is one; or an
            iterable of such tensors.
        mask: (batch, *spatial) of bool, True = real: then padding is looked for in codes and codebooks. With one tensor only.
        max_vectors: Most vectors that are looked at, half of them to fit changes to. For each codebook eight times its codes or more.
        trials: Whether changes are tried; without them it takes a tenth of the time, and causes that show only in what a change gains
            (scale, balance, sizes) are not found.
        joint: Compare the tensors of all ranks; then every rank has to call.

    Returns:
        `Examination`: numbers, real rates, trials and findings.

    Raises:
        TypeError: Vectors that are not floating, or a mask with an iterable.
        ValueError: No vectors, wrong dim, NaN or Inf, in the vectors or in a tensor of the quantizer.

    Example:
        >>> import torch, vqkit
        >>> vectors = torch.randn(4096, 8)
        >>> broken = vqkit.VQ.paper(8, 64)  # codes near 0, far from the vectors
        >>> [str(finding.cause) for finding in vqkit.doctor(broken, vectors + 3).findings if finding.severity == "fault"]
        ['dead start']
        >>> vqkit.doctor(vqkit.VQ(8, 64).fit(vectors), vectors).healthy
        True
    """
    if max_vectors < 2:
        raise ValueError(f"max_vectors must be at least 2, got {max_vectors}")
    ranks = different_ranks(quantizer) if joint else {}
    _check_finite(quantizer)
    sample = split_vectors(quantizer, vectors, mask, max_vectors)
    patient = copy.deepcopy(quantizer).eval()
    keep_zeros = all(other is None for other in sample.masks)
    with traced(patient) as learned:
        learn_codes = torch.cat([_flat(patient.encode(field)) for field in sample.learn])
    with traced(patient, learned, keep_zeros) as traces:
        codes = code_positions(patient, sample)
    measures = measure(patient, sample, codes, list(traces.books.values()), list(traces.products.values()))
    dead = any(use.dead for use in measures.books)
    tried = run_trials(patient, sample, dead) if trials else Trials()
    rates = real_rates(quantizer.code_sizes, quantizer.stage_ends, quantizer.bits_per_vector, learn_codes, codes)
    leaks = mask_leaks(quantizer, vectors, mask) if mask is not None and isinstance(vectors, Tensor) else []
    evidence = Evidence(
        measures, list(traces.books.values()), tried, rates, leaks, _padding(patient, traces, sample), ranks
    )
    return Examination(_shown(quantizer), measures, rates, tried.all(), find_causes(evidence))


def _check_finite(quantizer: Quantizer) -> None:
    """Refuse a quantizer that cannot compute: the numbers of an examination would be NaN, and say nothing of why.

    Raises:
        ValueError: A tensor holds NaN or Inf; the first such tensor is named.
    """
    for name, tensor in quantizer.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            rows = tensor.reshape(len(tensor), -1) if tensor.ndim else tensor.reshape(1, 1)
            wrong = int((~rows.isfinite()).any(dim=1).sum())
            raise ValueError(
                f"the quantizer's own {name} has NaN or Inf in {wrong} of {len(rows)} rows: its training diverged, or its weights are "
                "damaged. Go back to an earlier checkpoint; a lower learning rate, clipped gradients or finite batches keep it from "
                "happening again"
            )


def _padding(patient: Quantizer, traces: Traces, sample: Sample) -> dict[str, int]:
    if not len(sample.masked) or patient.needs_grid:
        return {}
    with traced(patient) as masked:
        patient.encode(sample.masked[None])
    return padding_codes(traces, masked)


def _flat(codes: Tensor) -> Tensor:
    return codes.reshape(-1, codes.shape[-1])


def _shown(quantizer: Quantizer) -> str:
    """The constructor's call, without what is as by default."""
    given = quantizer.__dict__.get("_arguments") or {}
    usual = {name: value.default for name, value in inspect.signature(type(quantizer)).parameters.items()}
    usual |= leaf_options(type(quantizer))
    plain = (int, float, str, list, tuple)
    parts = [f"{k}={v!r}" for k, v in given.items() if isinstance(v, plain) and usual.get(k) != v]
    return f"{type(quantizer).__name__}({', '.join(parts)})"

"""What must never happen, tried out: padding that reaches codes or codebooks, and ranks that hold different tables."""

import copy
import hashlib

import torch
from torch import Tensor

from vqkit.diagnosis.trace import Traces
from vqkit.quantize import Quantizer
from vqkit.ranks import gather_ranks, num_ranks

__all__ = ["different_ranks", "mask_leaks", "padding_codes"]

_ITEMS = 64  # batch elements that a probe runs on


@torch.no_grad()
def mask_leaks(quantizer: Quantizer, vectors: Tensor, mask: Tensor) -> list[str]:
    """Run copies with other numbers at the masked positions: nothing that counts may change.

    Args:
        quantizer: Left as it is.
        vectors: (batch, *spatial, dim).
        mask: (batch, *spatial), True = real.

    Returns:
        What changed, in words; nothing of a quantizer that keeps the contract.
    """
    partly = (mask.flatten(start_dim=1).any(dim=1) & ~mask.flatten(start_dim=1).all(dim=1)).nonzero().flatten()
    if not len(partly):
        return []
    z, real = vectors[partly[:_ITEMS]].float(), mask[partly[:_ITEMS]]
    spread = z[real].std().clamp_min(1e-6)
    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0)).to(z) * spread * 3 + z[real].mean(dim=0)
    runs = [torch.where(real[..., None], z, other) for other in (torch.zeros_like(z), noise)]
    found = []
    judged = [copy.deepcopy(quantizer).eval()(run, real) for run in runs]
    if not torch.equal(judged[0].codes[real], judged[1].codes[real]):
        found.append("codes of real vectors depend on padding")
    if any((out.codes[~real] != -1).any() for out in judged):
        found.append("padding has codes")
    if any(out.z_q[~real].any() for out in judged):
        found.append("padding has vectors")
    if not torch.equal(judged[0].loss, judged[1].loss):
        found.append("losses depend on padding")
    if num_ranks() == 1:  # a step in training is one of all ranks
        states = []
        for run in runs:
            learner = copy.deepcopy(quantizer).train()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                learner(run, real)
            states.append(learner.state_dict())
        if any(not torch.equal(value, states[1][name]) for name, value in states[0].items()):
            found.append("a step in training learns from padding")
    return found


def padding_codes(traces: Traces, masked: Traces) -> dict[str, int]:
    """Codes that lie on padding and serve nothing else: what a codebook has that learned without a mask.

    Args:
        traces: Traces of real vectors.
        masked: Traces of the vectors at masked positions, taken as if they were real.

    Returns:
        Their number by name of the codebook, where there are any.
    """
    found = {}
    for path, trace in traces.books.items():
        other = masked.books[path]
        fair = trace.vectors / len(trace.counts)
        unused = trace.counts < 0.05 * fair
        chosen = other.counts >= max(1, other.vectors // 50)
        near = other.mean_error < 0.1 * trace.mean_error  # it is on them, not merely the nearest
        if near and (count := int((unused & chosen).sum())):
            found[trace.name] = count
    return found


def different_ranks(quantizer: Quantizer) -> dict[str, int]:
    """Tensors that are not the same on all ranks; every rank has to call.

    Returns:
        For each such tensor the number of ranks that differ from rank 0.
    """
    if num_ranks() == 1:
        return {}
    names = sorted(quantizer.state_dict())
    state = quantizer.state_dict()
    digests = [_digest(state[name]) for name in names]
    device = next(iter(state.values())).device
    gathered = gather_ranks(torch.tensor(digests, dtype=torch.int64, device=device))
    differing = (gathered != gathered[0]).sum(dim=0).tolist()
    return {name: count for name, count in zip(names, differing, strict=True) if count}


def _digest(value: Tensor) -> int:
    data = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 1

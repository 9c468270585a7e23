"""What a quantizer is given, checked in one place: vectors with their mask, and codes; and the precision that it computes in."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from vqkit.counts import check_stages
from vqkit.quantize import native
from vqkit.types import Float, Int

__all__ = ["checked_codes", "checked_vectors", "finite_vectors", "full_precision", "narrowed", "zeroed"]


def checked_vectors(z: Tensor, mask: Tensor | None, dim: int, finite: bool) -> Float[Tensor, "*shape dim"]:
    """See that z is (batch, *spatial, dim) and the mask fits; give float32, zero where masked.

    Args:
        z: the vectors.
        mask: True = real.
        dim: their length.
        finite: refuse NaN and Inf at real positions too, which syncs the device.

    Raises:
        TypeError: z is not floating, or mask is not bool.
        ValueError: wrong shape, or NaN or Inf at a real position.
    """
    if not z.is_floating_point():
        raise TypeError(f"z must have a floating dtype, got {z.dtype}")
    if z.ndim < 2 or z.shape[-1] != dim:
        raise ValueError(f"z must be (batch, *spatial, {dim}), got shape {tuple(z.shape)}")
    x = z.float()
    if mask is not None:
        if mask.dtype != torch.bool:
            raise TypeError(f"mask must be bool (True = real), got {mask.dtype}")
        if mask.shape != z.shape[:-1]:
            raise ValueError(
                f"mask must have the shape {tuple(z.shape[:-1])} of z without dim, got {tuple(mask.shape)}"
            )
        x = torch.where(mask[..., None], x, 0.0)
    return finite_vectors(x) if finite else x


def finite_vectors(x: Tensor) -> Tensor:
    """The vectors themselves, once none of them was found to be NaN or Inf; in a graph, and on "meta", they are not looked at.

    Raises:
        ValueError: NaN or Inf.
    """
    if not _has_values(x):
        return x
    # a NaN or Inf shows in the sum, which is the cheapest pass there is; finite values too large for it need the exact one
    if not math.isfinite(x.detach().sum()) and (bad := ~torch.isfinite(x)).any():
        raise ValueError(f"z has {int(bad.sum())} NaN or Inf among {x.numel()} values; it must be finite in float32")
    return x


def checked_codes(
    codes: Tensor, stages: int | None, code_sizes: Sequence[int], stage_ends: Sequence[int]
) -> tuple[Int[Tensor, "*shape codes"], int]:
    """See that codes are those of the first stages and in range.

    Args:
        codes: (batch, *spatial, codes).
        stages: how many stages are wanted; all that ``codes`` holds by default.
        code_sizes: alphabet of each code.
        stage_ends: number of codes of the first stage, of the first two, ….

    Returns:
        The int64 codes of the wanted stages, and their number of stages.

    Raises:
        TypeError: codes are not integers.
        ValueError: a code out of range, or a number of codes or stages that does not exist.
    """
    if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise TypeError(f"codes must be integers, got {codes.dtype}")
    prefix = list(stage_ends)
    if codes.ndim < 2 or codes.shape[-1] not in prefix:
        allowed = " or ".join(map(str, prefix))
        raise ValueError(f"codes must be (batch, *spatial, codes) with {allowed} codes, got shape {tuple(codes.shape)}")
    held = prefix.index(codes.shape[-1]) + 1
    stages = held if stages is None else stages
    check_stages(stages, held)
    codes = codes[..., : prefix[stages - 1]].long()
    if _has_values(codes):
        wanted = code_sizes[: codes.shape[-1]]
        if _within(codes, min(wanted)):
            return codes, stages
        sizes = torch.tensor(wanted, device=codes.device)
        bad = (codes < -1) | (codes >= sizes)
        if bad.any():
            at = int(bad.flatten(end_dim=-2).any(dim=0).nonzero()[0])
            value = int(codes[..., at][bad[..., at]][0])
            raise ValueError(f"code {value} at position {at} is out of range: −1 (masked) or 0 … {int(sizes[at]) - 1}")
    return codes, stages


def _has_values(x: Tensor) -> bool:
    """Whether a program may branch on what x holds: not in a compiled or exported graph, and on "meta" there are shapes alone."""
    return not (torch.compiler.is_compiling() or x.is_meta)


def _within(codes: Int[Tensor, "*shape codes"], size: int) -> bool:
    """Whether all codes are those of the smallest alphabet, which one pass tells; most quantizers have only that one."""
    if not codes.numel():
        return True
    if native.serves(codes, torch.long) and codes.is_contiguous():
        return bool(native.call("vqkit_within", codes.data_ptr(), codes.numel(), size))
    ends = codes.aminmax()
    # one transfer from a device; on the CPU to stack takes longer than to read both
    low, high = (end.item() for end in ends) if codes.device.type == "cpu" else torch.stack(ends).tolist()
    return bool(low >= -1 and high < size)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A context without autocast. To enter one costs as much as to encode a vector: where nothing is on, it is left out."""
    if device.type != "meta" and (torch.compiler.is_compiling() or torch.is_autocast_enabled(device.type)):
        return torch.autocast(device_type=device.type, enabled=False)
    return nullcontext()


def narrowed(mask: Tensor | None, elements: Tensor, x: Tensor) -> Tensor:
    """The mask, without the batch elements that dropped this stage."""
    keep = elements.reshape(-1, *[1] * (x.ndim - 2)).expand(x.shape[:-1])
    return keep if mask is None else mask & keep


def zeroed(x: Tensor, mask: Tensor | None) -> Tensor:
    """x, zero where masked."""
    return x if mask is None else torch.where(mask[..., None], x, 0.0)

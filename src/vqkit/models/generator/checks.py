"""Checks of a `TokenGenerator`: settings that make no model; codes, classes or conditions that are not its own. Also its preset sizes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vqkit.counts import is_whole
from vqkit.models.generator.patterns import TokenPattern

__all__ = ["check_inputs", "check_settings", "check_types", "preset_sizes"]

_SIZES = {
    "tiny": {"width": 128, "layers": 4, "heads": 4},  # 1 million parameters besides those of the codes
    "small": {"width": 384, "layers": 8, "heads": 6},
    "paper": {"width": 1024, "layers": 24, "heads": 16},
}

_MAX_CODES = 1 << 20  # rows of the embedding: beyond it a generator is the wrong model


def check_inputs(
    code_sizes: Sequence[int],
    num_classes: int,
    condition_dim: int,
    codes: Tensor | None,
    classes: Tensor | None,
    condition: Tensor | None,
) -> None:
    """See that codes, classes and condition are such as a generator takes.

    Args:
        code_sizes: alphabets of the generator.
        num_classes: number of its classes.
        condition_dim: length of its conditions.
        codes: codes to check, or None.
        classes: classes to check, or None.
        condition: condition to check, or None.

    Raises:
        TypeError: codes or classes are no tensor of integers, whose dtype may be any; a condition is no tensor.
        ValueError: a wrong shape, a value out of range, NaN or Inf, or classes or a condition where the generator takes none.
    """
    if codes is not None:
        _check_whole("codes", codes)
        if codes.ndim != 3 or codes.shape[2] != len(code_sizes) or 0 in codes.shape:
            raise ValueError(f"codes must be (batch, frames, {len(code_sizes)}), got shape {tuple(codes.shape)}")
        numbers, sizes = codes.long(), torch.tensor(code_sizes, device=codes.device)
        if bool(((numbers < -1) | (numbers >= sizes)).any()):
            raise ValueError(f"codes must be −1 or below their sizes {code_sizes[:8]}, got one outside")
    if classes is not None:
        if not num_classes:
            raise ValueError("classes are given, and this generator has none")
        _check_whole("classes", classes)
        # −1 is no number of uint8, and other unsigned integers cannot be compared at all
        named = classes.long()
        if named.ndim != 1 or bool(((named < -1) | (named >= num_classes)).any()):
            raise ValueError(f"classes must be (batch,) numbers from −1 to {num_classes - 1}, got {classes}")
    if condition is not None:
        if not condition_dim:
            raise ValueError("a condition is given, and this generator takes none")
        if not isinstance(condition, Tensor):
            raise TypeError(
                f"condition must be a torch.Tensor, or a function that returns one, got {type(condition).__name__}"
            )
        if condition.ndim != 3 or condition.shape[2] != condition_dim:
            raise ValueError(f"condition must be (batch, frames, {condition_dim}), got shape {tuple(condition.shape)}")
        if not bool(condition.isfinite().all()):
            raise ValueError("condition has NaN or Inf, it must be finite")


def _check_whole(name: str, numbers: Tensor) -> None:
    if not isinstance(numbers, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor of integers, got {type(numbers).__name__}")
    if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        raise TypeError(f"{name} must be integers, got {numbers.dtype}")


def check_types(code_sizes: Any, pattern: Any, grid: Any, classes: Any) -> None:
    """See that these arguments of `TokenGenerator` are of the types that it names.

    Raises:
        TypeError: an argument of another type.
    """
    for name, sizes in (("code_sizes", code_sizes), ("grid", grid)):
        if not isinstance(sizes, Sequence) or not all(is_whole(size) for size in sizes):
            raise TypeError(f"{name} must be a sequence of integers, got {sizes!r}")
    if pattern is not None and not isinstance(pattern, TokenPattern):
        raise TypeError(f"pattern must be a TokenPattern such as Delay(), got {pattern!r}")
    named = isinstance(classes, Sequence) and not isinstance(classes, str)
    if not named or not all(isinstance(name, str) for name in classes):
        raise TypeError(f"classes must be a sequence of names, got {classes!r}")


def check_settings(
    code_sizes: Sequence[int],
    width: int,
    layers: int,
    heads: int,
    depth_layers: int,
    window: int,
    grid: Sequence[int],
    classes: Sequence[str],
    condition_dim: int,
    condition_dropout: float,
) -> None:
    """See that the arguments of `TokenGenerator`, which names them, make a model.

    Raises:
        ValueError: an argument out of range.
    """
    if not code_sizes or min(code_sizes) < 1 or sum(code_sizes) > _MAX_CODES:
        raise ValueError(f"code_sizes must be at least 1 and have a sum of at most 2^20, got {tuple(code_sizes)[:8]}")
    if min(width, layers, heads, window) < 1 or depth_layers < 0 or condition_dim < 0:
        raise ValueError(
            "width, layers, heads and window must be at least 1, depth_layers and condition_dim at least 0, got "
            f"{width}, {layers}, {heads}, {window}, {depth_layers} and {condition_dim}"
        )
    if width % (2 * heads):
        raise ValueError(f"heads must divide the width into even parts, got {heads} of {width}")
    if any(side < 1 for side in grid):
        raise ValueError(f"the sides of the grid must be at least 1, got {tuple(grid)}")
    if len(set(classes)) != len(classes):
        raise ValueError(f"the names of the classes must differ, got {tuple(classes)}")
    if not 0 <= condition_dropout <= 1:
        raise ValueError(f"condition_dropout must be in [0, 1], got {condition_dropout}")


def preset_sizes(name: str) -> dict[str, int]:
    """Sizes of `TokenGenerator` by name.

    Args:
        name: ``"tiny"``, ``"small"``, or ``"paper"`` for the 24 layers of width 1024 of IVQ's section 3.3.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> preset_sizes("tiny")
        {'width': 128, 'layers': 4, 'heads': 4}
    """
    if name not in _SIZES:
        raise ValueError(f"no preset {name!r}; there is {', '.join(_SIZES)}")
    return dict(_SIZES[name])

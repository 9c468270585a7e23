"""Identity of a model's weights: the hash by which a ``.vqk`` file names its model, and what the hash covers.

Conventions
    The *hash* of a model covers names, shapes and values of its state dict, floating values as float32. It does not depend on the device,
    nor on the dtype that holds the same values: a float64 copy has the hash of the float32 weights.
    A copy in half precision has other values, but its codes mean the same. It therefore keeps the hash of the weights that were rounded,
    until its own weights change; ``save_pretrained`` writes that hash beside the weights.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from safetensors import safe_open
from torch import Tensor, nn

__all__ = ["HasState", "accepted_hashes", "claim", "keep_hash", "read_claim", "saved_hash", "weight_hash"]

_STATISTICS = ("codebook.usage", "codebook.ema_count", "codebook.ema_sum")
_COPY, _ORIGINAL = "weight_hash", "copy_of"  # in a weights file's metadata


class HasState(Protocol):
    """A module, or what else has a state dict."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors by name."""


class _Rounded(NamedTuple):
    """Hash of the values that a model had after it was rounded, and of those before."""

    copy: str
    original: str


def weight_hash(model: HasState) -> str:
    """Compute SHA-256 of a model's weights, or of those it is a copy of in less precision, in hexadecimal.

    Example:
        >>> one, other = nn.Linear(2, 2), nn.Linear(2, 2)
        >>> weight_hash(one) == weight_hash(one) != weight_hash(other)
        True
        >>> weight_hash(one.double()) == weight_hash(one.float())
        True
    """
    return _hash_of(model.state_dict(), model)


def accepted_hashes(model: HasState) -> tuple[str, ...]:
    """Hashes of the files that a model decodes: `weight_hash` first, then the one that early files of a half-precision model have."""
    state = model.state_dict()
    found = [_hash_of(state, model)]
    other = next((v.dtype for v in state.values() if v.is_floating_point() and v.dtype != torch.float32), None)
    if other is not None:
        # a cast used to round the statistics of codebooks, too, before it made float32 of them again
        early = {n: v.to(other).float() if n.endswith(_STATISTICS) else v for n, v in state.items()}
        found += [_digest(state, canonical=False), _digest(early, canonical=False)]
    return tuple(found)


def keep_hash(model: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Let a model that was just rounded keep its hash.

    Args:
        model: the model with its new weights.
        before: state dict of the model before rounding.
    """
    after = model.state_dict()
    if any(_rounded(value, after[name]) for name, value in before.items() if name in after):
        original = _hash_of(before, model)
        model.__dict__["_rounded"] = _Rounded(_digest(after), original)


def claim(model: nn.Module) -> dict[str, str]:
    """Return metadata for a file of the model's weights: the hash of the weights these are a rounded copy of; empty for an original."""
    copy, original = _digest(model.state_dict()), weight_hash(model)
    return {} if copy == original else {_COPY: copy, _ORIGINAL: original}


def read_claim(model: nn.Module, weights: Path) -> None:
    """Take over the `claim` of a file that the model's weights were just read from; about other weights it has no effect."""
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    if metadata and {_COPY, _ORIGINAL} <= metadata.keys():
        model.__dict__["_rounded"] = _Rounded(metadata[_COPY], metadata[_ORIGINAL])


def saved_hash(weights: Path) -> str:
    """`weight_hash` of the model that a file of weights is read into, without the model."""
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata() or {}
        own = _digest({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118  # it is no dict
    return metadata[_ORIGINAL] if metadata.get(_COPY) == own and _ORIGINAL in metadata else own


def _hash_of(state: Mapping[str, Tensor], model: HasState) -> str:
    own, rounded = _digest(state), model.__dict__.get("_rounded")
    return rounded.original if rounded and rounded.copy == own else own


def _digest(state: Mapping[str, Tensor], canonical: bool = True) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        value = value.detach().cpu()
        if canonical and value.is_floating_point():
            value = value.float()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _rounded(before: Tensor, after: Tensor) -> bool:
    if type(before) is not Tensor or before.is_meta or after.is_meta:
        return False  # shards of a tensor, and tensors without values, have no hash
    if not before.is_floating_point() or not after.is_floating_point():
        return False
    return before.dtype != after.dtype and torch.finfo(after.dtype).eps > torch.finfo(torch.float32).eps

"""Weights of a frozen trunk in a safetensors file: complete, of the right shapes, known by their digest."""

import hashlib
from pathlib import Path

from torch import nn

from vqkit.saved import check_finite, read_shapes
from vqkit.types import need

__all__ = ["load_exactly", "sha256_of"]


def load_exactly(trunk: nn.Module, path: str | Path, network: str) -> None:
    """Fill a network from a file that has every one of its tensors.

    Args:
        trunk: the network; tensors in the file that it has not are left aside (a classifier behind the features).
        path: a safetensors file.
        network: name of the network, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: safetensors is not installed.
        ValueError: no whole safetensors file; a tensor is missing, of another shape, or holds NaN or Inf.
    """
    load_file = need("safetensors.torch", "image").load_file
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no weights file {path}")
    state, held = trunk.state_dict(), read_shapes(Path(path))
    missing = [name for name in state if name not in held]
    if missing:
        raise ValueError(f"{path} does not hold {network}: there is no {', '.join(missing[:3])}")
    for name, tensor in state.items():
        if tuple(tensor.shape) != held[name][1]:
            raise ValueError(f"{path}: {name} has shape {held[name][1]}, {network} has {tuple(tensor.shape)}")
    found = load_file(path)
    trunk.load_state_dict({name: found[name] for name in state})
    check_finite(trunk, Path(path))


def sha256_of(path: str | Path) -> str:
    """Digest of a file's bytes.

    Args:
        path: the file.

    Returns:
        Hexadecimal.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Weights of a frozen trunk in a safetensors file: complete, of the right shapes, known by their digest."""

import hashlib
from pathlib import Path

from torch import nn

from vqkit.types import need

__all__ = ["load_exactly", "sha256_of"]


def load_exactly(trunk: nn.Module, path: str | Path, network: str) -> None:
    """Fill a network from a file that has every one of its tensors.

    Args:
        trunk: the network; tensors in the file that it has not are left aside (a classifier behind the features).
        path: a safetensors file.
        network: its name, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: safetensors is not installed.
        ValueError: a tensor is missing, or of another shape.
    """
    safetensors = need("safetensors.torch", "image")
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no weights file {path}")
    state, found = trunk.state_dict(), safetensors.load_file(path)
    missing = [name for name in state if name not in found]
    if missing:
        raise ValueError(f"{path} does not hold {network}: there is no {', '.join(missing[:3])}")
    for name, tensor in state.items():
        if tensor.shape != found[name].shape:
            raise ValueError(
                f"{path}: {name} has shape {tuple(found[name].shape)}, {network} has {tuple(tensor.shape)}"
            )
    trunk.load_state_dict({name: found[name] for name in state})


def sha256_of(path: str | Path) -> str:
    """Digest of a file's bytes.

    Args:
        path: the file.

    Returns:
        Hexadecimal.
    """
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

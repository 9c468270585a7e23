"""Training checkpoints in one safetensors file: tensors as tensors, everything else as JSON in its header. Nothing is pickled.

Format
    Metadata ``vqkit-checkpoint`` is JSON. A tensor is ``{"tensor": name}``, a tuple ``{"tuple": […]}``, a dictionary ``{"dict": [[key,
    value], …]}`` (its keys need not be strings); lists, strings, numbers, booleans and null are themselves.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from lightning.fabric.plugins import CheckpointIO
from torch import Tensor

from vqkit.files import write_whole

__all__ = ["SafeCheckpointIO"]

_KEY = "vqkit-checkpoint"


class SafeCheckpointIO(CheckpointIO):
    """Give it to ``Trainer(plugins=[SafeCheckpointIO()])``; each file appears whole or not at all.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     io = SafeCheckpointIO()
        ...     io.save_checkpoint({"epoch": 3, "betas": (0.8, 0.99), "state": {0: torch.ones(2)}}, f"{folder}/last.safetensors")
        ...     io.load_checkpoint(f"{folder}/last.safetensors")
        {'epoch': 3, 'betas': (0.8, 0.99), 'state': {0: tensor([1., 1.])}}
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: dictionaries, lists and tuples of tensors, numbers, strings, booleans and None.
            path: the file.
            storage_options: must be None.

        Raises:
            TypeError: the checkpoint holds something else; the message names where.
        """
        if storage_options is not None:
            raise TypeError(f"storage_options must be None, got {storage_options!r}")
        tensors: dict[str, Tensor] = {}
        described = json.dumps(_pack(checkpoint, "checkpoint", tensors))
        # save_file would write a temporary file of its own, which only its owner may read
        write_whole(path, safetensors.torch.save(tensors, metadata={_KEY: described}))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint; its tensors come on the CPU (Lightning moves them).

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not a checkpoint written by `save_checkpoint`.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"no such checkpoint: {path}")
        try:
            with safetensors.safe_open(str(path), framework="pt") as file:
                described = json.loads((file.metadata() or {})[_KEY])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            found: dict[str, Any] = _unpack(described, tensors)
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a vqkit checkpoint: {error}") from None
        return found

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def _pack(value: Any, where: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        own = value.detach().to("cpu").contiguous()
        shared = own.untyped_storage().nbytes() != own.numel() * own.element_size()
        known = {tensor.data_ptr() for tensor in tensors.values()} if own.numel() else set()
        tensors[where] = own.clone() if shared or own.data_ptr() in known else own
        return {"tensor": where}
    if isinstance(value, Mapping):
        return {
            "dict": [
                [_pack(key, where, tensors), _pack(item, f"{where}/{key}", tensors)] for key, item in value.items()
            ]
        }
    if isinstance(value, tuple):
        return {"tuple": [_pack(item, f"{where}/{index}", tensors) for index, item in enumerate(value)]}
    if isinstance(value, list):
        return [_pack(item, f"{where}/{index}", tensors) for index, item in enumerate(value)]
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"{where} holds {type(value).__name__}, which a checkpoint cannot: {value!r}")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        if kind == "tensor":
            return tensors[content]
        if kind == "tuple":
            return tuple(_unpack(item, tensors) for item in content)
        return {_unpack(key, tensors): _unpack(item, tensors) for key, item in content}
    return value

"""A model's folder from elsewhere: ``config.json`` and ``model.safetensors``, read with bounds and checked before anything is built.

Nothing in the two files decides by itself how much memory is taken or how long reading takes: the config is short, shallow and has
plain numbers, the weights' header is short and agrees with the size of the file, and a model is built only if what it asks for is there.
"""

import json
import math
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from torch import nn

from vqkit.allowance import MAX_FLOATS, Allowance, built_within, needs_values
from vqkit.types import need

__all__ = [
    "CONFIG",
    "MAX_NUMBER",
    "WEIGHTS",
    "built_for",
    "check_arguments",
    "check_finite",
    "one_line",
    "read_config",
    "read_shapes",
]

CONFIG, WEIGHTS = "config.json", "model.safetensors"

MAX_NUMBER = 2**31
"""Numbers of a config are below it: sizes, rates and weights."""

_MAX_CONFIG_BYTES = 1 << 20
_MAX_DEPTH = 64  # of objects and lists within each other
_MAX_HEADER_BYTES = 1 << 24  # some 100,000 tensors
_SLACK = 8  # values in tensors that a constructor may make for each one in the file; 1 to 3.4 measured
_SPARE_CALLS, _CALLS_PER_TENSOR = 1 << 12, 64  # of PyTorch; 1 to 17 a tensor measured

Model = TypeVar("Model", bound=nn.Module)
Shapes = dict[str, tuple[str, tuple[int, ...]]]
"""Name → dtype and shape of a tensor."""


def one_line(error: object, length: int = 300) -> str:
    """Convert a message, or anything else, to one printable line of at most ``length`` characters."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(str(error).split()))
    return line if len(line) <= length else line[: length - 1] + "…"


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON object that describes a model.

    Raises:
        ValueError: it is too long, too deep or no JSON object, or a number in it is NaN, infinite or 2^31 and beyond.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_CONFIG_BYTES + 1)
    if len(content) > _MAX_CONFIG_BYTES:
        raise ValueError(f"{path} is too long for the config of a model: more than {_MAX_CONFIG_BYTES} bytes")
    try:
        config = json.loads(content.decode(), parse_constant=_number, parse_float=_number, parse_int=_number)
        _check_depth(config)
    except RecursionError:
        raise ValueError(f"{path}: more than {_MAX_DEPTH} objects and lists within each other") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not JSON: not text in UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold an object, got {type(config).__name__}")
    return config


def _number(text: str) -> int | float:
    whole = text.removeprefix("-").isdigit()
    # ten digits suffice for 2^31, and Python refuses to read some thousands
    value = int(text) if whole and len(text) <= 11 else float(text)
    if not abs(value) < MAX_NUMBER:
        raise ValueError(f"numbers must be finite and below 2^31, got {one_line(text, 40)}")
    return value


def _check_depth(config: Any) -> None:
    level = [config]
    for _ in range(_MAX_DEPTH + 1):
        if not level:
            return
        nested = [list(value.values()) if isinstance(value, dict) else value for value in level]
        level = [item for value in nested if isinstance(value, list) for item in value]
    raise RecursionError


def check_arguments(kind: type, arguments: dict[str, Any]) -> None:
    """See that arguments from a config are of the types that a constructor names; types that it leaves open pass.

    Raises:
        ValueError: a string, a fraction or a list in place of a whole number, and so on.

    Example:
        >>> from vqkit import VQ
        >>> check_arguments(VQ, {"dim": 4.5, "codebook_size": 8})
        Traceback (most recent call last):
            ...
        ValueError: dim of VQ must be int, got 4.5
    """
    try:
        hints = get_type_hints(kind.__init__)  # type: ignore[misc]
    except Exception:  # a class of the user's own whose annotations name nothing
        return
    for name, value in arguments.items():
        hint = hints.get(name, Any)
        if not _fits(value, hint):
            wanted = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
            raise ValueError(f"{name} of {kind.__name__} must be {wanted}, got {one_line(repr(value), 60)}")


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in inner)
    if origin is Literal:
        return value in inner
    if hint is bool:  # 0 and 1 were saved as they were given
        return isinstance(value, bool) or (isinstance(value, int) and value in (0, 1))
    if hint is int:
        return isinstance(value, int)
    if hint is float:
        return isinstance(value, (int, float))
    if hint is str or hint is type(None) or (isinstance(hint, type) and issubclass(hint, nn.Module)):
        return isinstance(value, hint)
    if origin in (Sequence, list, tuple):
        parts = [part for part in inner if part is not Ellipsis]
        same = len(parts) == 1
        fixed = origin is tuple and Ellipsis not in inner
        if not isinstance(value, (list, tuple)) or (fixed and len(value) != len(parts)):
            return False
        return not parts or all(_fits(item, parts[0 if same else i]) for i, item in enumerate(value))
    if origin is dict:
        return isinstance(value, dict)
    return True


def read_shapes(path: Path) -> Shapes:
    """Read the header of a safetensors file: dtype and shape of every tensor. No tensor is read.

    Raises:
        ImportError: safetensors is not installed.
        ValueError: no such file: too long a header, tensors that overlap, leave gaps or end elsewhere than the file.
    """
    safetensors = need("safetensors", "train")
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _MAX_HEADER_BYTES:
        raise _MisfitError(f"{path} has a header of {length} bytes, allowed are {_MAX_HEADER_BYTES}")
    try:
        with safetensors.safe_open(path, framework="pt") as file:  # checks all offsets against the size of the file
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # not a dict
            return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except safetensors.SafetensorError as error:
        raise _MisfitError(f"{path} is not a whole safetensors file: {one_line(error)}") from None


def built_for(folder: Path, make: Callable[[], Model], slack: int = MAX_FLOATS) -> Model:
    """Build a model for the weights in a folder, once it is clear that they are its own; then load them.

    Args:
        folder: folder with ``config.json`` and ``model.safetensors``.
        make: constructs the model from its config.
        slack: most values in tensors that are no weights, such as the bases of transforms.

    Returns:
        The model with its weights.

    Raises:
        ValueError: the config makes no model or asks for more than the file holds, a tensor has another shape, a weight is NaN or Inf.
    """

    def described() -> Model:
        try:
            return make()
        except Exception as error:  # numbers and words of a stranger reach whatever is in a constructor
            if needs_values(error):
                raise
            raise _named(folder / CONFIG, error) from (None if isinstance(error, ValueError) else error)

    return built_from(folder / WEIGHTS, described, slack)


def built_from(weights: Path, make: Callable[[], Model], slack: int = MAX_FLOATS) -> Model:
    """The same as `built_for`, for a file of weights whose model is described elsewhere; ``make`` may raise what it likes."""
    load_file = need("safetensors.torch", "train").load_file
    SafetensorError = need("safetensors", "train").SafetensorError
    where = weights.parent if weights.name == WEIGHTS else weights
    try:
        held = read_shapes(weights)
        model = built_within(make, _allowance(held, slack), lambda planned: _check_shapes(planned, held))
        model.load_state_dict(load_file(weights))
    except (_MisfitError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"the weights in {where} do not fit its config: {one_line(error)}") from None
    check_finite(model, weights)
    return model


class _MisfitError(ValueError):
    """Weights that are not those of a model."""


def _named(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: {one_line(error) or type(error).__name__}")


def check_described(config: Path, weights: Path, make: Callable[[dict[str, Any]], nn.Module]) -> None:
    """See that a model which another library is going to load is one of the size of its weights; nothing of it is kept.

    Args:
        config: a JSON file.
        weights: a safetensors file.
        make: constructs the model from what the JSON file holds.

    Raises:
        ValueError: as in `read_config` and `read_shapes`; the config makes no model or asks for more than the file of weights holds.
    """
    described = read_config(config)
    held = read_shapes(weights)
    try:
        with torch.device("meta"), _allowance(held):
            make(described)
    except Exception as error:
        raise _named(config, error) from (None if isinstance(error, ValueError) else error)


def _allowance(held: Shapes, slack: int = MAX_FLOATS) -> Allowance:
    """Return the allowance for building a model whose weights are those of a file; it grows with their values and their number."""
    values = sum(math.prod(shape) for _, shape in held.values())
    return Allowance(slack + _SLACK * values, _SPARE_CALLS + _CALLS_PER_TENSOR * len(held))


def _check_shapes(model: nn.Module, held: Shapes) -> None:
    """Compare the tensors that model and file both have; others are the business of ``load_state_dict``, which knows old names."""
    for name, own in model.state_dict().items():
        if name not in held:
            continue
        dtype, shape = held[name]
        differs = None
        if shape != tuple(own.shape):
            differs = f"has shape {list(shape)} in the file, {list(own.shape)} by the config"
        elif own.is_floating_point() != dtype.startswith(("F", "BF")):
            differs = f"is {dtype} in the file, {str(own.dtype).removeprefix('torch.')} by the config"
        if differs:
            raise _MisfitError(f"{name} {differs}")


def check_finite(model: nn.Module, path: Path) -> None:
    """See that no weight is NaN or infinite, in the model's own dtype.

    Args:
        model: model with weights from a file.
        path: path of the file, for the message.

    Raises:
        ValueError: one is; the message names its tensor.
    """
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{path}: {name} holds NaN or Inf")

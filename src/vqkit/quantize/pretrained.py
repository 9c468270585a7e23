"""Saving and loading a quantizer: a JSON expression and safetensors, written whole or not at all, never pickled.

``config.json`` holds the expression: ``{"class": "Residual", "arguments": {"stages": [{"class": "VQ", "arguments": {…}}, …]}}``.
Only subclasses of `Quantizer` that are already imported can be named, so a file cannot make Python import or run anything; and it is
built only if the weights beside it are those of what it describes (`vqkit.saved`).
"""

import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from vqkit.files import write_whole
from vqkit.saved import CONFIG, WEIGHTS, built_for, check_arguments, one_line, read_config
from vqkit.types import need

if TYPE_CHECKING:
    from vqkit.quantize.base import Quantizer

    Q = TypeVar("Q", bound=Quantizer)

_DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_MAX_CODES = 1 << 16  # a vector; a .vqk file holds 1024

__all__ = ["bound_arguments", "check_codes", "expression", "from_expression", "load", "save"]


def bound_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments by name, defaults included."""
    try:
        bound = inspect.signature(cls).bind_partial(*args, **kwargs)
    except TypeError:  # the constructor itself will say what is wrong
        return {}
    bound.apply_defaults()
    return dict(bound.arguments)


def expression(value: Any) -> Any:
    """A quantizer, or an argument of one, as JSON."""
    if hasattr(value, "_arguments"):
        arguments = {name: expression(argument) for name, argument in value._arguments.items()}
        return {"class": type(value).__name__, "arguments": arguments}
    if isinstance(value, (list, tuple)):
        return [expression(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"cannot save a constructor argument of type {type(value).__name__}: {value!r}")


def from_expression(cls: "type[Quantizer]", config: Any) -> Any:
    """Build what `expression` described; ``cls`` and its imported subclasses are allowed.

    Raises:
        ValueError: an unknown class, arguments that its constructor refuses, or too many codes.
    """
    if isinstance(config, list):
        return [from_expression(cls, item) for item in config]
    if not isinstance(config, dict):
        return config
    known = {kind.__name__: kind for kind in _family(cls) if not inspect.isabstract(kind)}
    name = config.get("class")
    if name not in known or not isinstance(config.get("arguments"), dict):
        raise ValueError(
            f"config names the {_root(cls).__name__.lower()} {one_line(repr(name), 60)}; known here: {', '.join(sorted(known))}"
        )
    base = _root(cls)
    arguments = {key: from_expression(base, value) for key, value in config["arguments"].items()}
    check_arguments(known[name], arguments)
    try:
        built = known[name](**arguments)
    except TypeError as error:
        raise ValueError(f"config does not fit {name}: {error}") from None
    check_codes(built)
    return built


def check_codes(built: Any) -> None:
    """See that a quantizer has a number of codes that can be listed; `Product` and `Interpolated` multiply them without a tensor.

    Raises:
        ValueError: it has more than 65,536 codes a vector.
    """
    codes = sum(getattr(built, "codes_per_stage", ()))
    if codes > _MAX_CODES:
        raise ValueError(f"{type(built).__name__} has {codes} codes a vector, allowed are {_MAX_CODES}")


def _family(cls: type[Any]) -> list[type[Any]]:
    children: list[type[Any]] = cls.__subclasses__()
    return [cls, *(kind for child in children for kind in _family(child))]


def _root(cls: "type[Quantizer]") -> "type[Quantizer]":
    from vqkit.quantize.base import Quantizer

    return Quantizer if issubclass(cls, Quantizer) else cls


def save(quantizer: "Quantizer", folder: str | os.PathLike[str]) -> None:
    """Write config and weights; each file appears whole or not at all."""
    safetensors = need("safetensors.torch", "train")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    dtype = str(quantizer.dtype).removeprefix("torch.")
    config = json.dumps({**expression(quantizer), "dtype": dtype}, indent=2) + "\n"
    state = {name: value.contiguous() for name, value in quantizer.state_dict().items()}
    write_whole(folder / "model.safetensors", safetensors.save(state))
    write_whole(folder / "config.json", config.encode())


def load(cls: "type[Q]", folder: str | os.PathLike[str]) -> "Q":
    """Read config and weights written by `save`."""
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} is not a saved quantizer: {name} is missing")
    config = read_config(folder / CONFIG)
    dtype = config.pop("dtype", "float32")
    if str(dtype) not in _DTYPES:
        raise ValueError(f"{folder / CONFIG} has dtype {one_line(repr(dtype), 60)}; allowed: {', '.join(_DTYPES)}")

    def make() -> "Q":
        quantizer: Q = from_expression(cls, config).to(_DTYPES[dtype])
        return quantizer

    return built_for(folder, make).eval()

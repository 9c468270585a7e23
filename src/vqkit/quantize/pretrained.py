"""Saving and loading a quantizer: a JSON expression and safetensors, written whole or not at all, never pickled.

``config.json`` holds the expression: ``{"class": "Residual", "arguments": {"stages": [{"class": "VQ", "arguments": {…}}, …]}}``. Settings
that were changed after construction stand beside the arguments, by module: ``"settings": {"stages.0": {"commitment_weight": 1}}``.
Only subclasses of `Quantizer` that are already imported can be named, so a file cannot make Python import or run anything; and it is
built only if the weights beside it are those of what it describes (`vqkit.saved`).
"""

import inspect
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_type_hints

import torch
from torch import nn

from vqkit.files import write_whole
from vqkit.quantize.settings import changed_settings, set_settings
from vqkit.quantize.sharding import refuse_parts
from vqkit.saved import CONFIG, WEIGHTS, built_for, check_arguments, one_line, read_config
from vqkit.types import need

Q = TypeVar("Q", bound=nn.Module)

_DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_MAX_CODES = 1 << 16  # a vector; a .vqk file holds 1024

__all__ = ["bound_arguments", "check_codes", "expression", "from_expression", "leaf_options", "load", "save"]


def bound_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments by name, defaults included.

    What a system takes for its leaves (`vqkit.quantize.system.System.options_of`) stands among them; ``*args`` and other ``**kwargs`` are a
    tuple and a dict under their names.
    """
    try:
        bound = inspect.signature(cls).bind_partial(*args, **kwargs)
    except TypeError:  # the constructor itself will say what is wrong
        return {}
    bound.apply_defaults()
    options = leaf_options(cls)
    given = bound.arguments.pop(_keywords(bound.signature), {}) if options else {}
    empty = {name for name in _variadic(bound.signature) if not bound.arguments.get(name)}
    return {name: value for name, value in bound.arguments.items() if name not in empty} | {**options, **given}


@cache
def leaf_options(cls: type) -> Mapping[str, Any]:
    """Defaults of the keyword arguments that a system takes for its leaves, by name; other quantizers have none.

    Example:
        >>> from vqkit import PVQ
        >>> leaf_options(PVQ)["decay"]
        0.98
    """
    leaf = getattr(cls, "options_of", None)
    if leaf is None:
        return MappingProxyType({})
    (typed,) = get_args(get_type_hints(cls.__init__)[_keywords(inspect.signature(cls))])  # type: ignore[misc]
    usual = inspect.signature(leaf).parameters
    return MappingProxyType({name: usual[name].default for name in get_type_hints(typed)})


def _keywords(signature: inspect.Signature) -> str:
    """The name of ``**kwargs``."""
    kind = inspect.Parameter.VAR_KEYWORD
    return next((name for name, parameter in signature.parameters.items() if parameter.kind is kind), "")


def _variadic(signature: inspect.Signature) -> set[str]:
    """Names of ``*args`` and ``**kwargs``."""
    kinds = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return {name for name, parameter in signature.parameters.items() if parameter.kind in kinds}


def expression(value: Any) -> Any:
    """A quantizer, or an argument of one, as JSON."""
    if hasattr(value, "_arguments"):
        arguments = {name: expression(argument) for name, argument in value._arguments.items()}
        config = {"class": type(value).__name__, "arguments": arguments}
        settings = _changed(value, config)
        return {**config, "settings": settings} if settings else config
    if isinstance(value, dict) and all(isinstance(key, str) and key != "class" for key in value):
        return {key: expression(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [expression(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"cannot save a constructor argument of type {type(value).__name__}: {value!r}")


def from_expression(cls: type[Any], config: Any) -> Any:
    """Build what `expression` described; ``cls`` and its imported subclasses are allowed.

    Raises:
        ValueError: an unknown class, arguments that its constructor refuses, settings that it does not have, or too many codes.
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
    arguments = {key: _argument(base, value) for key, value in config["arguments"].items()}
    try:
        built = _call(known[name], arguments)
    except TypeError as error:
        raise ValueError(f"config does not fit {name}: {error}") from None
    set_settings(built, config.get("settings", {}))
    check_codes(built)
    return built


def _argument(base: type[Any], config: Any) -> Any:
    if isinstance(config, list):
        return [_argument(base, item) for item in config]
    if isinstance(config, dict) and "class" not in config:  # what a constructor takes as a dict, or by **kwargs
        return {key: _argument(base, item) for key, item in config.items()}
    return from_expression(base, config)


def _call(kind: type, arguments: dict[str, Any]) -> Any:
    """The inverse of `bound_arguments`."""
    signature = inspect.signature(kind)
    arguments = {**getattr(kind, "_before", {}), **arguments}  # what it meant not to have an argument that came later
    options = {name: arguments.pop(name) for name in leaf_options(kind) if name in arguments}
    unknown = [name for name in arguments if name not in signature.parameters]
    if unknown:
        raise TypeError(f"got an unexpected argument {one_line(repr(unknown[0]), 60)}")
    check_arguments(kind, {name: value for name, value in arguments.items() if name not in _variadic(signature)})
    if options:
        check_arguments(kind.options_of, options)  # type: ignore[attr-defined]
        nested = arguments.setdefault(_keywords(signature), {})  # where they stood before they were typed
        arguments[_keywords(signature)] = nested | options if isinstance(nested, dict) else nested
    for name in _variadic(signature) & arguments.keys():
        wanted = dict if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD else list
        if not isinstance(arguments[name], wanted):
            raise TypeError(f"{name} must be a {wanted.__name__}, got {one_line(repr(arguments[name]), 60)}")
    bound = inspect.BoundArguments(signature, arguments)  # any mapping will do
    return kind(*bound.args, **bound.kwargs)


def _changed(value: Any, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings that differ from those that the constructor makes of the same arguments; only quantizers have any."""
    if not getattr(type(value), "has_settings", False):
        return {}
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):  # only Python attributes are compared
                fresh = from_expression(type(value), config)
        except (RuntimeError, NotImplementedError):  # its constructor looks at values, which that device does not have
            fresh = from_expression(type(value), config)
    return changed_settings(value, fresh)


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


def _root(cls: type[Any]) -> type[Any]:
    """The class whose subclasses may stand in arguments: `Quantizer`, which is where ``has_settings`` is, or ``cls`` itself."""
    return next((base for base in cls.__mro__ if "has_settings" in vars(base)), cls)


def save(quantizer: Any, folder: str | os.PathLike[str]) -> None:
    """Write config and weights; each file appears whole or not at all."""
    safetensors = need("safetensors.torch", "train")
    refuse_parts(quantizer.state_dict())
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    dtype = str(quantizer.dtype).removeprefix("torch.")
    config = json.dumps({**expression(quantizer), "dtype": dtype}, indent=2) + "\n"
    state = {name: value.contiguous() for name, value in quantizer.state_dict().items()}
    write_whole(folder / "model.safetensors", safetensors.save(state))
    write_whole(folder / "config.json", config.encode())


def load(cls: type[Q], folder: str | os.PathLike[str]) -> Q:
    """Read config and weights written by `save`."""
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"{folder} is not a saved quantizer: {name} is missing")
    config = read_config(folder / CONFIG)
    dtype = config.pop("dtype", "float32")
    if str(dtype) not in _DTYPES:
        raise ValueError(f"{folder / CONFIG} has dtype {one_line(repr(dtype), 60)}; allowed: {', '.join(_DTYPES)}")

    def make() -> Q:
        quantizer: Q = from_expression(cls, config).to(_DTYPES[dtype])
        return quantizer

    return built_for(folder, make).eval()

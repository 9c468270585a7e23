"""A type checker for jaxtyping that looks at nothing but array shapes and dtypes (others stumble over `Self`)."""

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin

from jaxtyping import AbstractArray


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            _check(name, value, signature.parameters[name].annotation)
        result = function(*args, **kwargs)
        _check("the result", result, signature.return_annotation)
        return result

    return wrapper


def _check(name: str, value: Any, hint: Any) -> None:
    arrays = [h for h in (get_args(hint) if get_origin(hint) in (Union, types.UnionType) else [hint]) if _is_array(h)]
    if arrays and value is not None and not any(isinstance(value, array) for array in arrays):
        raise TypeError(f"{name} has shape {tuple(value.shape)} and dtype {value.dtype}, not {arrays}")


def _is_array(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, AbstractArray)

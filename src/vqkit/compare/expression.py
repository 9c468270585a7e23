"""Quantizers as text: ``RVQ(dim, codebook_size=64, num_quantizers=4)`` → a constructor that waits for ``dim``.

The text is parsed, not evaluated: calls of quantizers, numbers, strings, lists and arithmetic are all there is. A name is one of
vqkit's quantizers, or the import path of a class of your own.
"""

import ast
import importlib
import operator
from collections.abc import Callable
from typing import Any

import vqkit.quantize
from vqkit.quantize import Quantizer

__all__ = ["constructor"]

_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


def constructor(text: str) -> Callable[[int], Quantizer]:
    """Read an expression.

    Args:
        text: such as ``"IVQ(dim)"`` or ``"Residual([VQ(dim, 64), FSQ(dim, [5, 5, 5])])"``; ``dim`` is the backbone's.

    Returns:
        A function from ``dim`` to a new quantizer.

    Raises:
        ValueError: not such an expression; what it makes is no quantizer, or refuses its arguments (when called).

    Example:
        >>> constructor("PVQ(dim, codebook_size=64, num_pieces=4)")(128).bits_per_vector
        24.0
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(
            f"not an expression: {text!r}; write for example RVQ(dim, codebook_size=64, num_quantizers=4)"
        ) from None

    def make(dim: int) -> Quantizer:
        try:
            quantizer = _value(tree, dim)
        except TypeError as error:
            raise ValueError(f"{text}: {error}") from None
        if not isinstance(quantizer, Quantizer):
            raise ValueError(f"{text} is no quantizer but {type(quantizer).__name__}")
        return quantizer

    return make


def _value(node: ast.expr, dim: int) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id == "dim":
        return dim
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item, dim) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, dim)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _ARITHMETIC[type(node.op)](_value(node.left, dim), _value(node.right, dim))
    if isinstance(node, ast.Call):
        arguments = [_value(argument, dim) for argument in node.args]
        options = {option.arg: _value(option.value, dim) for option in node.keywords if option.arg}
        return _callable(ast.unparse(node.func))(*arguments, **options)
    raise ValueError(
        f"{ast.unparse(node)!r} may not stand in an expression; allowed: quantizers, numbers, strings, lists, dim, + - * // **"
    )


def _callable(name: str) -> Callable[..., Any]:
    head, _, method = name.partition(".")
    if head in vqkit.quantize.__all__ and method in ("", "shared"):
        found = getattr(vqkit.quantize, head)
        if not method:
            return found
        if hasattr(found, method):
            return getattr(found, method)
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute) if module else None
    except (ImportError, AttributeError):
        found = None
    if not (isinstance(found, type) and issubclass(found, Quantizer)):
        known = ", ".join(name for name in vqkit.quantize.__all__ if name not in ("Quantizer", "System"))
        raise ValueError(f"unknown quantizer {name!r}; known: {known}, or the import path of a subclass of Quantizer")
    return found

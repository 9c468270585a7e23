"""Quantizers as text: ``RVQ(dim, codebook_size=64, num_quantizers=4)`` → a constructor that waits for ``dim``.

The text is parsed, not evaluated: calls of quantizers, numbers, strings, lists and arithmetic are all there is, every number stays below
2^31, and a quantizer is planned without memory before it is built. A name is one of vqkit's quantizers, or the import path of a class of
your own. To import a module is to run it, so a module that Python has not imported already must be allowed by name.
"""

import ast
import importlib
import math
import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any

import vqkit.quantize
from vqkit.allowance import MAX_FLOATS, Allowance, TooLargeError, built_within
from vqkit.quantize import Quantizer
from vqkit.quantize.pretrained import check_codes
from vqkit.saved import MAX_NUMBER, one_line

__all__ = ["constructor"]

_MAX_TEXT = 10_000  # characters
_MAX_DEPTH = 50  # of calls, lists and operations within each other
_MAX_LIST = 4096
_ALLOWED = "quantizers, numbers, strings, lists, dim, + - * // **"
_QUANTIZERS = [
    name
    for name, found in ((name, getattr(vqkit.quantize, name)) for name in vqkit.quantize.__all__)
    if isinstance(found, type) and issubclass(found, Quantizer)
]
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


def constructor(
    text: str, *, import_from: Sequence[str] = (), max_floats: int = MAX_FLOATS
) -> Callable[[int], Quantizer]:
    """Read an expression.

    Args:
        text: such as ``"IVQ(dim)"`` or ``"Residual([VQ(dim, 64), FSQ(dim, [5, 5, 5])])"``; ``dim`` is the backbone's.
        import_from: packages and modules that the text may have imported, which runs them: ``"mypackage"`` allows all of it.
        max_floats: most values that the tensors of a quantizer may hold; 2^28 are 1 GiB.

    Returns:
        A function from ``dim`` to a new quantizer.

    Raises:
        ValueError: not such an expression; what it makes is no quantizer, is too large, or refuses its arguments (when called).

    Example:
        >>> constructor("PVQ(dim, codebook_size=64, num_pieces=4)")(128).bits_per_vector
        24.0
    """
    shown = one_line(text, 80)
    try:
        if len(text) > _MAX_TEXT:
            raise SyntaxError
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last three: zero bytes and deep nesting
        raise ValueError(
            f"not an expression: {shown!r}; write for example RVQ(dim, codebook_size=64, num_quantizers=4)"
        ) from None

    def make(dim: int) -> Quantizer:
        def built() -> Quantizer:
            quantizer = _Reader(dim, tuple(import_from)).value(tree)
            if not isinstance(quantizer, Quantizer):
                raise ValueError(f"{shown} is no quantizer but {type(quantizer).__name__}")
            return quantizer

        try:
            return built_within(built, Allowance(max_floats), check_codes)
        except TooLargeError as error:
            raise ValueError(f"{shown}: {error}; --max_floats allows more") from None
        except ValueError as error:
            raise ValueError(one_line(error)) from None
        except Exception as error:  # arguments of any kind reach whatever is in a constructor
            raise ValueError(f"{shown}: {one_line(error) or type(error).__name__}") from error

    return make


class _Reader:
    """Values of the parts of an expression."""

    def __init__(self, dim: int, import_from: tuple[str, ...]) -> None:
        self.dim, self.import_from = dim, import_from

    def value(self, node: ast.AST, depth: int = 0) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError(f"more than {_MAX_DEPTH} parts within each other")

        def inner(part: ast.AST) -> Any:
            return self.value(part, depth + 1)

        if isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float, str, type(None))):
            return _bounded(node.value)
        if isinstance(node, ast.Name) and node.id == "dim":
            return self.dim
        if isinstance(node, (ast.List, ast.Tuple)):
            return [inner(item) for item in node.elts]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -_number(inner(node.operand))
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return _calculated(type(node.op), inner(node.left), inner(node.right))
        if isinstance(node, ast.Call) and all(option.arg for option in node.keywords):  # ** has no name
            name = _dotted(node.func)
            arguments = [inner(argument) for argument in node.args]
            options = {str(option.arg): inner(option.value) for option in node.keywords}
            return self.callable(name)(*arguments, **options)
        raise ValueError(f"{_shown(node)!r} may not stand in an expression; allowed: {_ALLOWED}")

    def callable(self, name: str) -> Callable[..., Any]:
        head, _, method = name.partition(".")
        if head in _QUANTIZERS and method in ("", "shared", "paper"):
            found: Any = getattr(vqkit.quantize, head)
            if not method:
                return found
            if hasattr(found, method):
                return getattr(found, method)
        module, _, attribute = name.rpartition(".")
        found = None
        if module in sys.modules:
            found = vars(sys.modules[module]).get(attribute)  # getattr could import: modules may do so on demand
        elif module and any(f"{module}.".startswith(f"{allowed}.") for allowed in self.import_from):
            try:
                found = getattr(importlib.import_module(module), attribute, None)
            except ImportError as error:
                raise ValueError(f"cannot import {module}: {one_line(error)}") from None
        elif module and head not in _QUANTIZERS:
            raise ValueError(
                f"naming {name} would import {module}, which runs its code; allow that with --import_from {head}"
            )
        if not (isinstance(found, type) and issubclass(found, Quantizer)):
            known = ", ".join(name for name in _QUANTIZERS if name not in ("Quantizer", "System"))
            raise ValueError(
                f"unknown quantizer {name!r}; known: {known}, or the import path of a subclass of Quantizer"
            )
        return found


def _dotted(node: ast.AST) -> str:
    """``a.b.c`` of names and attributes."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ValueError(f"{_shown(node)!r} may not be called in an expression; allowed: {_ALLOWED}")
    return ".".join([node.id, *reversed(parts)])


def _shown(node: ast.AST) -> str:
    try:
        return one_line(ast.unparse(node), 60)
    except RecursionError:
        return "…"


def _number(value: Any) -> Any:
    if isinstance(value, (str, list, type(None), Quantizer)):
        raise ValueError(f"arithmetic takes numbers, got {one_line(repr(value), 60)}")
    return value


def _bounded(value: Any) -> Any:
    """A number within ±2^31, or anything else, unchanged."""
    if isinstance(value, (int, float)) and not abs(value) < MAX_NUMBER:
        digits = str(value) if isinstance(value, float) or value.bit_length() < 64 else f"{value.bit_length()} bits"
        raise ValueError(f"numbers must be finite and below 2^31, got {digits}")
    return value


def _calculated(operation: type[ast.operator], left: Any, right: Any) -> Any:
    """Compute the result of one operation, if it is a number within ±2^31 or a list of at most 4096 items."""
    listed = [value for value in (left, right) if isinstance(value, list)]
    if listed and operation in (ast.Add, ast.Mult):  # [5] * 3, [7] + [5] * 4
        length = sum(map(len, listed))
        if operation is ast.Mult:
            times = right if listed[0] is left else left
            length *= max(0, times) if isinstance(times, int) else 0
        if length > _MAX_LIST:
            raise ValueError(f"lists may have {_MAX_LIST} items, got {length}")
    else:
        _number(left), _number(right)
    if operation is ast.Pow and abs(left) > 1 and right * math.log2(abs(left)) > 31:
        raise ValueError(f"numbers must be finite and below 2^31, got {left} ** {right}")
    try:
        result = _ARITHMETIC[operation](left, right)
    except (ArithmeticError, TypeError) as error:
        sign = {ast.FloorDiv: "//", ast.Pow: "**"}.get(operation, "and")
        raise ValueError(f"{one_line(left, 40)} {sign} {one_line(right, 40)}: {one_line(error)}") from None
    if isinstance(result, complex):
        raise ValueError(f"{left} ** {right} is no real number")
    return _bounded(result)

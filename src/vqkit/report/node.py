"""Values of a JSON document together with their paths in it, so that an error can name the field."""

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["Node"]


@dataclass(frozen=True)
class Node:
    """A JSON value and the path that leads to it.

    Attributes:
        value: value as ``json.loads`` returned it.
        path: path of the value, for example ``systems[2].kbps.mean``; empty at the root.
        source: name of the document, the first word of every error.

    Example:
        >>> node = Node({"kbps": [{"mean": 1.5}]}, source="results.json")
        >>> node.get("kbps").items()[0].get("mean").number()
        1.5
        >>> node.get("kbps").items()[0].get("std")
        Traceback (most recent call last):
        ValueError: results.json: field kbps[0].std is missing
    """

    value: Any
    path: str = ""
    source: str = "results.json"

    def error(self, allowed: str) -> ValueError:
        """Return the error to raise when the value is not what is allowed."""
        shown = repr(self.value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return ValueError(f"{self.source}: field {self.path or '(root)'} is {shown}, must be {allowed}")

    def optional(self, key: str) -> "Node | None":
        """Return the member of an object, None if it is absent or null."""
        if not isinstance(self.value, dict):
            raise self.error("an object")
        if self.value.get(key) is None:
            return None
        return Node(self.value[key], f"{self.path}.{key}" if self.path else key, self.source)

    def get(self, key: str) -> "Node":
        """Return the member of an object.

        Raises:
            ValueError: the value is no object, or has no such member.
        """
        if not isinstance(self.value, dict):
            raise self.error("an object")
        path = f"{self.path}.{key}" if self.path else key
        if key not in self.value:
            raise ValueError(f"{self.source}: field {path} is missing")
        return Node(self.value[key], path, self.source)

    def items(self) -> "list[Node]":
        """Return the elements of a list."""
        if not isinstance(self.value, list):
            raise self.error("a list")
        return [Node(item, f"{self.path}[{i}]", self.source) for i, item in enumerate(self.value)]

    def members(self) -> "dict[str, Node]":
        """Return all members of an object."""
        if not isinstance(self.value, dict):
            raise self.error("an object")
        return {key: self.get(key) for key in self.value}

    def further(self, *known: str) -> dict[str, Any]:
        """Return the members of an object that have other names than these, as they are."""
        return {key: node.value for key, node in self.members().items() if key not in known}

    def text(self) -> str:
        """Return a string."""
        if not isinstance(self.value, str):
            raise self.error("a string")
        return self.value

    def number(self, least: float = -math.inf) -> float:
        """Return a finite number, at least ``least``."""
        allowed = "a finite number" if least == -math.inf else f"a finite number, at least {least:g}"
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self.error(allowed)
        if not math.isfinite(self.value) or self.value < least:
            raise self.error(allowed)
        return float(self.value)

    def measured(self) -> float:
        """Return a number that a measurement may have failed to give: null reads as NaN."""
        if self.value is None:
            return math.nan
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self.error("a number or null")
        return float(self.value)

    def integer(self, least: int = 0) -> int:
        """Return a whole number, at least ``least``."""
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)) or self.value != self.value // 1:
            raise self.error(f"a whole number, at least {least}")
        if self.value < least:
            raise self.error(f"a whole number, at least {least}")
        return int(self.value)

    def flag(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            raise self.error("true or false")
        return self.value

    def inner_path(self) -> str:
        """Return a file path that stays inside the folder: a report must not embed other files of the machine."""
        path = self.text()
        parts = path.replace("\\", "/").split("/")
        if not path or parts[0] == "" or ".." in parts or ":" in parts[0]:
            raise self.error("a path relative to the folder, without '..'")
        return path

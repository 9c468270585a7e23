"""Settings of a module that were changed after construction: plain public attributes, of it or of its parts."""

from typing import Any, get_type_hints

from torch import nn

from vqkit.saved import one_line

__all__ = ["changed_settings", "set_settings"]

_MISSING = object()


def changed_settings(module: nn.Module, fresh: nn.Module) -> dict[str, dict[str, Any]]:
    """Plain attributes of a module and its parts that are not what they are in a new one.

    Args:
        module: the module.
        fresh: another, just built of the same arguments.

    Returns:
        By path of the part (``""`` is the module itself) the changed names and their values, as JSON.

    Example:
        >>> from vqkit import RVQ
        >>> quantizer = RVQ(dim=4, codebook_size=8, num_quantizers=2)
        >>> quantizer.quantizer.stage_dropout = 0.5
        >>> changed_settings(quantizer, RVQ(dim=4, codebook_size=8, num_quantizers=2))
        {'quantizer': {'stage_dropout': 0.5}}
    """
    parts = dict(fresh.named_modules())
    changed: dict[str, dict[str, Any]] = {}
    for path, part in module.named_modules():
        for name, setting in vars(part).items():
            if path not in parts or not _is_plain(setting) or not _may_change(parts[path], name):
                continue
            if getattr(parts[path], name) != setting:
                changed.setdefault(path, {})[name] = list(setting) if isinstance(setting, tuple) else setting
    return changed


def set_settings(built: Any, settings: Any) -> None:
    """Bring changed settings back. Only what a module has already, and only plain values: a file must not reach further.

    Raises:
        ValueError: another part, name or kind of value.
    """
    name = type(built).__name__
    if not isinstance(settings, dict):
        raise ValueError(f"the settings of {name} must be an object, got {one_line(repr(settings), 60)}")
    modules = dict(built.named_modules()) if settings else {}
    for path, changes in settings.items():
        if path not in modules or not isinstance(changes, dict):
            raise ValueError(f"config does not fit {name}: no part {one_line(repr(path), 60)} with settings")
        for key, value in changes.items():
            old = getattr(modules[path], key) if _may_change(modules[path], key) else _MISSING
            bound = _counts(modules[path]).get(key)
            if not (_is_plain(value) and _alike(old, value)) or (
                bound is not None and not (type(value) is int and 1 <= value <= bound)
            ):
                raise ValueError(
                    f"config does not fit {name}: {path or name} has no setting {one_line(repr(key), 60)} that could be "
                    f"{one_line(repr(value), 60)}"
                )
            setattr(modules[path], key, tuple(value) if isinstance(old, tuple) else value)


def _may_change(part: nn.Module, name: str) -> bool:
    """Whether a name is a setting of a part. Sizes of layers of ours and PyTorch's are not: tensors and memory depend on them."""
    if name.startswith("_") or name == "training" or isinstance(getattr(type(part), name, None), property):
        return False
    value = getattr(part, name, _MISSING)
    if not _is_plain(value):
        return False
    if type(part).__module__.partition(".")[0] not in ("vqkit", "torch") or not isinstance(value, (int, list, tuple)):
        return True
    if name in _counts(part):
        return True
    # a weight that was given as a whole number is a weight all the same
    return isinstance(value, bool) or get_type_hints(type(part).__init__).get(name) is float


def _counts(part: nn.Module) -> dict[str, int]:
    """Whole numbers on which no tensor's size depends, such as the width of a search, and the most that each may be."""
    return getattr(type(part), "_changeable_counts", {})


def _is_plain(value: Any) -> bool:
    """Numbers, words, and lists and dicts of them."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, (bool, int, float, str))


def _alike(old: Any, new: Any) -> bool:
    groups = ((bool,), (int, float), (str,), (list, tuple), (dict,))
    return old is not _MISSING and (
        old is None or new is None or any(isinstance(old, group) and isinstance(new, group) for group in groups)
    )

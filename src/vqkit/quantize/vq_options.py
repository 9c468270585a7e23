"""The keyword arguments of `VQ`, named once for every system that passes them on as ``**options``."""

from typing import TypedDict

__all__ = ["CodebookOptions", "VQOptions"]


class CodebookOptions(TypedDict, total=False):
    """Arguments of `VQ` that say how codes are found, and how they live."""

    distance: str
    init: str
    revive: str
    anchor: str
    decay: float
    restart_threshold: float
    gradient: str
    assignment: str
    temperature: float
    unit: bool
    orthogonality_weight: float
    diversity_weight: float


class VQOptions(CodebookOptions, total=False):
    """Keyword arguments of `VQ`, as ``**options`` of the systems that are made of it."""

    update: str
    commitment_weight: float
    codebook_weight: float

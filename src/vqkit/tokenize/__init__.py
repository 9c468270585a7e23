"""Tokenization of a corpus to token files, exactly once however often it is interrupted; and a data set of these for training.

`TokenDataset` reads what ``vqkit tokenize`` wrote; `TokenizeColumn` is for ``map`` of ``datasets`` and of Ray Data. Workers import from
here, so that what needs torch is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqkit.tokenize.columns import TokenizeColumn
    from vqkit.tokenize.dataset import TokenBatch, TokenDataset, TokenItem, collate_tokens
    from vqkit.tokenize.loader import TokenLoader
    from vqkit.tokenize.manifest import read_manifest, verify_tokens
    from vqkit.tokenize.model_encoder import ModelEncoder
    from vqkit.tokenize.run import TokenizeSettings, tokenize

__all__ = [
    "ModelEncoder",
    "TokenBatch",
    "TokenDataset",
    "TokenItem",
    "TokenLoader",
    "TokenizeColumn",
    "TokenizeSettings",
    "collate_tokens",
    "read_manifest",
    "tokenize",
    "verify_tokens",
]

_HOMES = {
    "ModelEncoder": "model_encoder",
    "TokenBatch": "dataset",
    "TokenDataset": "dataset",
    "TokenItem": "dataset",
    "TokenLoader": "loader",
    "TokenizeColumn": "columns",
    "TokenizeSettings": "run",
    "collate_tokens": "dataset",
    "read_manifest": "manifest",
    "tokenize": "run",
    "verify_tokens": "manifest",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"vqkit.tokenize.{_HOMES[name]}"), name)

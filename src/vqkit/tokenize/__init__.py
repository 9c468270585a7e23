"""Tokenization of a corpus to token files, exactly once however often it is interrupted; and a data set of these for training.

`TokenDataset` reads what ``vqkit tokenize`` wrote; `TokenizeColumn` is for ``map`` of ``datasets`` and of Ray Data. Workers import from
here, so that what needs torch is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vqkit.data.token_files import TokenItem, read_manifest
    from vqkit.tokenize.columns import TokenizeColumn
    from vqkit.tokenize.dataset import TokenBatch, TokenDataset, collate_tokens
    from vqkit.tokenize.loader import TokenLoader
    from vqkit.tokenize.manifest import verify_tokens
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
    "TokenItem": "vqkit.data.token_files",
    "TokenLoader": "loader",
    "TokenizeColumn": "columns",
    "TokenizeSettings": "run",
    "collate_tokens": "dataset",
    "read_manifest": "vqkit.data.token_files",
    "tokenize": "run",
    "verify_tokens": "manifest",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    return getattr(import_module(home if "." in home else f"vqkit.tokenize.{home}"), name)

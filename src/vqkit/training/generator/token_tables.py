"""What ``vqkit tokenize`` wrote, as the streams that a generator learns.

`vqkit.tokenize.TokenDataset` stands above this room: it is given as an object, and a recipe names its class.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from vqkit.bitstream import VqkHeader
from vqkit.data.folders import class_of
from vqkit.data.token_files import TokenItem
from vqkit.models.generator.packing import StagePacking
from vqkit.training.generator.token_streams import TokenStream, with_splits

__all__ = ["TokenTable", "table_streams"]


class TokenTable(Protocol):
    """What `vqkit.tokenize.TokenDataset` is to a training: items by number, and a manifest with the models whose codes they are."""

    manifest: dict[str, Any]

    def __len__(self) -> int:
        """Number of items."""

    def __getitem__(self, index: int) -> TokenItem:
        """An item."""


def table_streams(table: TokenTable, split: str | None, packed: bool) -> list[TokenStream]:
    """All items of a split; their names say split and class, as with files.

    Args:
        table: without a pattern and without crops, which the generator and its data module make.
        split: keep this split only.
        packed: one id a stage; else one a code.

    Raises:
        ValueError: codes of several models, or no items of the split.
    """
    kinds, models = list(table.manifest["models"]), list(table.manifest["models"].values())
    if len(models) != 1:
        raise ValueError(
            f"the tokens are of {len(models)} models, a generator learns those of one: give one kind of them, "
            f"vqkit.tokenize.TokenDataset with kind {' or '.join(map(repr, kinds))}"
        )
    about = models[0]
    items = [table[index] for index in range(len(table))]
    splits = with_splits([item.key for item in items], split, "the token files")
    header = _header(about, items)
    stages = len(header.codes_per_stage)
    packing = (
        StagePacking.from_sizes(header.code_sizes, about["codes_per_stage"][:stages])
        if packed
        else StagePacking.of_codes(header.code_sizes)
    )
    found = [
        TokenStream(item.key, class_of(item.key), packing.pack(item.codes.flatten(end_dim=-2)).to(torch.int32), header)
        for item, own in zip(items, splits, strict=True)
        if split in (None, own)
    ]
    if not found:
        there = ", ".join(repr(word) for word in sorted(set(splits)))
        raise ValueError(f"the token files have no items of split {split!r}; there is {there}")
    return found


def _header(about: dict[str, Any], items: Sequence[TokenItem]) -> VqkHeader:
    """What a ``.vqk`` file of these codes would say; of the first stages, where items have no more."""
    kept, sizes, per_stage = items[0].codes.shape[-1], about["code_sizes"], about["codes_per_stage"]
    stages = next((n for n in range(1, len(per_stage) + 1) if sum(per_stage[:n]) == kept), len(per_stage))
    return VqkHeader(
        code_sizes=tuple(sizes[:kept]),
        codes_per_stage=tuple(per_stage[:stages]),
        sample_rate=about.get("sample_rate", 0),
        hop_samples=about.get("hop_samples", 0),
        channels=about.get("channels", 0),
        model=about["class"],
        model_hash=about["weight_hash"],
    )

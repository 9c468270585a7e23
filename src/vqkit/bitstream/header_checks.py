"""Checks of the fields of a header; `VqkHeader`, whose module imports this one, validates itself with them."""

from collections.abc import Sequence
from typing import Any

from vqkit.bitstream.limits import (
    MAX_CODE_SIZE,
    MAX_CODES,
    MAX_COUNT,
    MAX_DIMENSION,
    MAX_DIMENSIONS,
    MAX_METADATA,
    MAX_RATE,
    MAX_TEXT_BYTES,
)

__all__ = ["HASH_BYTES", "TABLES_HASH_BYTES", "check_numbers", "check_texts"]

HASH_BYTES = 32
TABLES_HASH_BYTES = 16


def check_numbers(header: Any) -> None:
    """Raise ValueError where a number of a `VqkHeader` is out of range."""
    if not 1 <= header.num_codes <= MAX_CODES:
        raise ValueError(f"code_sizes has {header.num_codes} codes, allowed are 1 to {MAX_CODES}")
    if not all(1 <= size <= MAX_CODE_SIZE for size in header.code_sizes):
        raise ValueError(f"code_sizes are {header.code_sizes[:8]} …, allowed are 1 to 2^32")
    if min(header.codes_per_stage) < 1 or sum(header.codes_per_stage) != header.num_codes:
        raise ValueError(
            f"codes_per_stage has sum {sum(header.codes_per_stage)}, expected numbers of at least 1 with sum {header.num_codes}"
        )
    for name in ("sample_rate", "hop_samples", "channels"):
        if not 0 <= getattr(header, name) <= MAX_RATE:
            raise ValueError(f"{name} is {getattr(header, name)}, allowed are 0 to {MAX_RATE}")
    if header.length is not None and not 0 <= header.length < MAX_COUNT:
        raise ValueError(f"length is {header.length}, allowed are 0 to below {MAX_COUNT}")
    if bool(header.sample_rate) != bool(header.hop_samples):
        raise ValueError(
            f"sample_rate is {header.sample_rate} and hop_samples {header.hop_samples}: give both or neither"
        )
    for name in ("grid", "image_size"):
        sizes = getattr(header, name)
        if len(sizes) > MAX_DIMENSIONS or not all(1 <= size <= MAX_DIMENSION for size in sizes):
            raise ValueError(f"{name} is {sizes}, allowed are up to {MAX_DIMENSIONS} numbers from 1 to {MAX_DIMENSION}")


def check_texts(header: Any, codings: Sequence[str]) -> None:
    """Raise ValueError where a text or a hash of a `VqkHeader` is too long or of another form, or its coding is none of these."""
    if header.coding not in codings:
        raise ValueError(f"coding is {header.coding!r}, allowed are {', '.join(codings)}")
    for name, most in (("model_hash", HASH_BYTES), ("tables_hash", TABLES_HASH_BYTES)):
        value = getattr(header, name)
        if len(value) > 2 * most or len(value) % 2 or set(value) - set("0123456789abcdef"):
            raise ValueError(f"{name} is {value[:80]!r}, expected up to {most} bytes in lower-case hexadecimal")
    if (header.coding == "plain") != (not header.tables_hash) or (header.tables and header.coding == "plain"):
        raise ValueError(f"coding {header.coding!r} does not go with tables_hash {header.tables_hash!r}")
    if len(header.metadata) > MAX_METADATA:
        raise ValueError(f"metadata has {len(header.metadata)} entries, allowed are {MAX_METADATA}")
    texts = {"model": header.model, "licence": header.licence}
    for name, value in [*texts.items(), *header.metadata.items()]:
        for text in (name, value):
            if not isinstance(text, str) or len(text.encode(errors="surrogatepass")) > MAX_TEXT_BYTES:
                raise ValueError(f"{name[:80]!r} is not text of at most {MAX_TEXT_BYTES} bytes")

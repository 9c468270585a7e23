"""Error of files that cannot be read, and its special case that the right model would avoid."""

__all__ = ["BitstreamError", "OtherModelError"]


class BitstreamError(ValueError):
    """A file is not what it should be: another format, a newer version, another model, cut short or altered."""


class OtherModelError(BitstreamError):
    """A file is whole, but was written with other weights or another prior than those at hand."""

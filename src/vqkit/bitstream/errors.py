"""Error of files that cannot be read, and its special case that the right model would avoid."""

__all__ = ["BitstreamError", "OtherModelError"]


class BitstreamError(ValueError):
    """Error of a file that is not as it should be: another format, a newer version, another model, cut short or altered."""


class OtherModelError(BitstreamError):
    """Error of a file that is whole, but was written with other weights or another prior than the given ones."""

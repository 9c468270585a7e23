"""The one error of files that cannot be read."""

__all__ = ["BitstreamError"]


class BitstreamError(ValueError):
    """A file is not what it should be: another format, a newer version, another model, cut short or altered."""

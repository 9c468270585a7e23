"""What tests of the compiled searches share."""

import pytest

from vqkit.quantize import native


@pytest.fixture
def library(monkeypatch):
    """The compiled library, for the time of one test."""
    monkeypatch.setattr(native, "_library", native._library)
    native.load()

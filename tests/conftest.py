import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

try:
    import resource
except ImportError:  # not a Unix: the time is bounded all the same
    resource = None  # type: ignore[assignment]


@contextmanager
def _bounded(seconds: float = 8, megabytes: int = 768) -> Iterator[None]:
    """What runs inside may take so much more memory, and so much time of this process."""
    statm = Path("/proc/self/statm")
    limited = resource is not None and statm.is_file()
    if limited:
        before = resource.getrlimit(resource.RLIMIT_AS)
        mapped = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + (megabytes << 20), before[1]))
    start = time.process_time()
    try:
        yield
    finally:
        taken = time.process_time() - start
        if limited:
            resource.setrlimit(resource.RLIMIT_AS, before)
    assert taken < seconds


@pytest.fixture
def bounded():
    """A context in which memory and time are short: ``with bounded(): …``."""
    return _bounded


@pytest.fixture(autouse=True)
def _gradients_on() -> Iterator[None]:
    """Every test begins with gradients on, whatever a test before it in this process has left behind."""
    import torch

    with torch.enable_grad():
        yield

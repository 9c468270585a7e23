"""A process that is asked to end while it trains saves first, whoever else listens to SIGTERM.

Lightning hears SIGTERM between two steps, and then calls the handler that was there before it, at once. Libraries leave handlers that end
the process on the spot (``ray.init`` and Ray's clusters do), in which case nothing would be saved.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from lightning.pytorch.utilities.exceptions import SIGTERMException

__all__ = ["saved_before_ending"]


@contextmanager
def saved_before_ending() -> Iterator[None]:
    """Inside, a handler of SIGTERM that was there before is called when the training has heard the signal and saved, not at once.

    It is called all the same, since it may be all that some other part of the process gets to know; an exit that it asks for is left to
    the exception that ends the training. As long as Lightning does not listen, nothing is to be saved, and it is called at once.
    """
    before = signal.getsignal(signal.SIGTERM)
    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def later(number: int, frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGTERM) is later:
            before(number, frame)

    signal.signal(signal.SIGTERM, later)
    try:
        yield
    except SIGTERMException:
        with suppress(SystemExit):
            before(signal.SIGTERM, None)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)

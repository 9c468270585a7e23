"""Processes that end with their parent; `tests/coding/test_workers.py` and `tests/serve/test_worker.py` see it under work."""

import signal
import threading

from vqkit.processes import interrupts_ignored


def test_interrupts_are_ignored_for_a_moment_and_only_where_that_can_be_asked_for() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_ignored():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is before
    seen = []

    def elsewhere() -> None:
        with interrupts_ignored():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]

"""The process for jobs: results, errors, time, and its end. The jobs are of the standard library, which a process imports quickly."""

import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from vqkit.serve.worker import JobError, Worker


def ended(process: int) -> bool:
    for _ in range(100):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker[int]]:
    with Worker(40, seconds=1.5) as running:
        yield running


def test_results_and_refusals(worker: Worker[int]) -> None:
    assert worker.run(operator.add, 2) == 42
    with pytest.raises(ValueError, match=r"^negative shift count$"):
        worker.run(operator.lshift, -1)
    with pytest.raises(ValueError, match=r"^unsupported operand"):  # a TypeError there
        worker.run(operator.add, "2")
    with pytest.raises(JobError, match=r"^ZeroDivisionError: "):
        worker.run(operator.truediv, 0)


def test_a_job_that_takes_too_long_is_ended_and_the_next_one_is_done(worker: Worker[int]) -> None:
    worker.run(operator.add, 1)
    before, begin = worker._process.pid, time.monotonic()
    assert before is not None
    with pytest.raises(JobError, match=r"^the job was ended: it took more than 1.5 s$"):
        worker.run(time.sleep)  # for 40 seconds
    assert time.monotonic() - begin < 10
    assert worker.run(operator.add, 1) == 41  # the start of a process does not count
    assert worker._process.pid != before
    assert ended(before)


def test_a_process_that_is_killed_is_named_and_replaced(worker: Worker[int]) -> None:
    with pytest.raises(JobError, match=r"^the job's process was killed; perhaps the memory does not suffice$"):
        worker.run(os._exit)
    assert worker.run(operator.add, 1) == 41


def test_closing_ends_a_job_that_runs() -> None:
    worker = Worker(40, seconds=60)
    worker.run(operator.add, 1)
    raised = []

    def job() -> None:
        try:
            worker.run(time.sleep)
        except JobError as error:
            raised.append(str(error))

    thread = threading.Thread(target=job)
    thread.start()
    time.sleep(0.2)
    worker.close()
    thread.join(10)
    assert raised == ["the server is being stopped"]
    with pytest.raises(JobError, match="the server is being stopped"):
        worker.run(operator.add, 1)


def test_the_process_ends_with_its_parent_in_the_middle_of_a_job() -> None:
    code = """
import operator, time
from vqkit.serve.worker import Worker
worker = Worker(100, seconds=100)
worker.run(operator.add, 1)
print(worker._process.pid, flush=True)
worker.run(time.sleep)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        time.sleep(0.2)
        parent.send_signal(signal.SIGKILL)
    assert ended(child)

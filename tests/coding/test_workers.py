import os

import pytest
import torch

from vqkit.coding.coded import CodedSound
from vqkit.coding.jobs import Job
from vqkit.coding.workers import Board, run_jobs


def test_one_that_fails_does_not_stop_the_others(codec):
    errors = {"b": ValueError("b is\nbad"), "c": RuntimeError("strange"), "d": OSError(28, "No space left on device")}

    def work(codec, job, watch):
        watch(2.0, 0.5)
        if job.source in errors:
            raise errors[job.source]
        assert torch.get_num_threads() == 1
        return CodedSound(seconds=4.0, bytes=100, stages=1)

    board, looks = Board(5), []
    jobs = [Job(name, "") for name in "abcde"]
    outcomes = list(run_jobs(jobs, codec, work, board, look=lambda: looks.append(list(board.seconds))))
    assert [outcome.error for outcome in outcomes] == [
        "",
        "b is bad",
        "RuntimeError: strange",
        "[Errno 28] No space left on device",
        "",
    ]
    assert [outcome.coded and outcome.coded.kbps for outcome in outcomes] == [0.2, None, None, None, 0.2]
    assert list(board.shares) == [0.5] * 5
    assert looks[1] == [2.0, 2.0, 0.0, 0.0, 0.0]


def test_an_interrupt_is_not_an_outcome(codec):
    def work(codec, job, watch):
        raise KeyboardInterrupt

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        list(run_jobs([Job("a", "b")], codec, work, Board(1)))
    assert torch.get_num_threads() == threads


def test_the_board_is_shared(codec):
    board = Board(2)
    child = os.fork()
    if not child:
        board.note(1, 3.0, None)
        os._exit(0)
    os.waitpid(child, 0)
    assert list(board.seconds) == [0.0, 3.0]

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

from vqkit.coding.coded import CodedSound
from vqkit.coding.jobs import Job
from vqkit.coding.workers import Board, run_jobs
from vqkit.files import NewFile


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


def load():
    return "models"


def dying_load():
    os._exit(7)


def work(models, job, watch):
    """What the name of the source says, with a file that is being written; in another process."""
    assert models == "models"
    with NewFile(job.target) as new:
        new.file.write(str(os.getpid()).encode())
        name, _, marker = job.source.partition(":")
        if name == "dies" or (name == "dies once" and not Path(marker).exists()):
            if marker:
                Path(marker).touch()
            new.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "bad":
            raise ValueError("bad")
    return CodedSound(seconds=1.0, bytes=10, stages=1)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Other processes must find what is defined here."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


def in_processes(folder, sources, load=load, processes=2):
    jobs = [Job(source, str(folder / f"{index}.out")) for index, source in enumerate(sources)]
    return jobs, run_jobs(jobs, "models", work, Board(len(jobs)), load, processes)


def test_a_process_that_dies_is_replaced_and_its_file_tried_once_more(tmp_path):
    sources = ["a", "dies", "b", f"dies once:{tmp_path / 'marker'}", "bad", "c", "d"]
    jobs, outcomes = in_processes(tmp_path, sources)
    outcomes = list(outcomes)
    assert [outcome.job for outcome in outcomes] == jobs
    dead = "2 processes died while they worked on it (killed by SIGKILL); perhaps memory does not suffice"
    assert [outcome.error for outcome in outcomes] == ["", dead, "", "", "bad", "", ""]
    assert [outcome.coded is None for outcome in outcomes] == [False, True, False, False, True, False, False]
    # nothing is left of what the dead ones wrote
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.out", "2.out", "3.out", "5.out", "6.out", "marker"]
    assert not multiprocessing.active_children()


def test_processes_that_cannot_even_begin_are_not_started_for_ever(tmp_path):
    _, outcomes = in_processes(tmp_path, "abc", dying_load)
    error = "processes end before they are ready (exit code 7); perhaps memory does not suffice for so many"
    assert [outcome.error for outcome in outcomes] == [error] * 3

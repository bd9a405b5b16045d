"""Work is spread over processes, and one that dies takes nobody else's work with it."""

import os
import signal
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from lite_sora import workers
from lite_sora.workers import CRASH, in_processes


def doubled(path: str, jobs: list) -> list:
    """Twice each job; a negative one kills the process."""
    if any(job < 0 for job in jobs):
        os.kill(os.getpid(), signal.SIGKILL)
    return [[path, 2 * job] for job in jobs]


def wrong(path: str, jobs: list) -> list:
    raise ZeroDivisionError(path)


TASKS = [(name, list(range(count))) for name, count in (("a", 3), ("b", 1), ("c", 2), ("d", 5), ("e", 1), ("f", 1))]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_each_task_is_done_once(workers):
    done = list(in_processes(doubled, TASKS, workers))
    assert sorted(index for index, _, _ in done) == list(range(6))
    for index, results, crashed in done:
        name, jobs = TASKS[index]
        assert results == [[name, 2 * job] for job in jobs] and not crashed


def test_no_tasks():
    assert list(in_processes(doubled, [], 2)) == []


def test_a_job_that_kills_its_process_is_the_only_one_lost():
    tasks = [*TASKS[:3], ("bad", [1, -1, 3]), *TASKS[3:]]
    done = {index: (results, crashed) for index, results, crashed in in_processes(doubled, tasks, 2)}
    assert sorted(done) == list(range(7))
    assert done[3] == ([["bad", 2], [{"broken": CRASH}], ["bad", 6]], True)
    for index in {0, 1, 2, 4, 5, 6}:
        name, jobs = tasks[index]
        assert done[index] == ([[name, 2 * job] for job in jobs], False)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_mistake_in_the_program_is_not_hidden(workers):
    with pytest.raises(ZeroDivisionError):
        list(in_processes(wrong, TASKS, workers))


def test_a_task_is_not_lost_where_a_process_dies_before_it_is_submitted(monkeypatch):
    class Pool:
        """Its second submission finds it broken."""

        def __init__(self, *_):
            self.submitted = 0

        def submit(self, measure, *task):
            self.submitted += 1
            if self.submitted == 2:
                raise BrokenProcessPool
            future = Future()
            future.set_result(measure(*task))
            return future

        def shutdown(self, cancel_futures=False):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(workers, "_pool", Pool)
    assert sorted(index for index, _, _ in in_processes(doubled, TASKS, 2)) == list(range(len(TASKS)))

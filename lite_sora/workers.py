"""Many processes at once, of which one may die: a broken video can take down its decoder and the process around it.

torch is not imported here: a process that decodes videos does not need it.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any

CRASH = "the process that measured it died: a broken file, or too little memory"


def rank_and_world() -> tuple[int, int]:
    """This process's number among those that torchrun started, and how many there are; (0, 1) without torchrun."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def in_processes(measure: Callable, tasks: list[tuple], workers: int) -> Iterator[tuple[int, list, bool]]:
    """Yields (index of the task, measure(*task), False) as tasks (path, jobs) finish, in any order.

    If a process dies, the jobs that were running are run once more, each alone. A job that kills its process again is
    yielded as broken, with True for "crashed". `workers` 0 runs everything in this process."""
    if workers == 0:
        for index, task in enumerate(tasks):
            yield index, measure(*task), False
        return
    waiting = list(range(len(tasks)))[::-1]
    while waiting:
        running = {}
        with _pool(min(workers, len(waiting))) as pool:
            try:
                while waiting or running:
                    while waiting and len(running) < 2 * workers:
                        running[pool.submit(measure, *tasks[waiting[-1]])] = waiting[-1]
                        waiting.pop()  # only now: if a process has died before, nothing was submitted
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        result = future.result()
                        yield running.pop(future), result, False
            except BrokenProcessPool:
                pass
            finally:
                pool.shutdown(cancel_futures=True)  # after Ctrl-C, tasks that have not begun do not begin
        for index in running.values():  # the tasks that were running when a process died
            path, jobs = tasks[index]
            results = [_alone(measure, path, job) for job in jobs]
            yield index, [result or [{"broken": CRASH}] for result in results], None in results


def _alone(measure: Callable, path: Any, job: Any) -> list | None:
    """The result of one job in a process of its own; None if that process dies."""
    with _pool(1) as pool:
        try:
            return pool.submit(measure, path, [job]).result()[0]
        except BrokenProcessPool:
            return None


def _pool(workers: int) -> ProcessPoolExecutor:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each process is one thread of many
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)


def _begin() -> None:
    """In each process: Ctrl-C is for the parent, and when the parent is killed, this process ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process().sentinel
    threading.Thread(target=lambda: (wait_for([parent]), os._exit(1)), daemon=True).start()

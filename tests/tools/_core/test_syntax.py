"""Parsing in the server's threads."""

import gc
import sys
import threading
from pathlib import Path

from optimizing_resources.tools._core.syntax import parse

SOURCE = (Path(__file__).resolve().parents[3] / "examples/gpu_oom/train.py").read_text(encoding="utf-8")


class Garbage:
    """Runs Python code when it is collected, which lets another thread in."""

    def __init__(self):
        self.own = self

    def __del__(self):
        sum(range(50))


def test_threads_that_parse_at_a_time_do_not_spoil_each_others_trees():
    failed = []

    def work():
        for _ in range(40):
            _ = [Garbage() for _ in range(10)]
            try:
                parse(SOURCE)
            except SystemError as error:
                failed.append(error)

    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(20)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
    assert not failed

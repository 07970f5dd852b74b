"""Runs one command until it ends or a limit is reached, and returns what it used; see answer().

Python 3.9 syntax; needs psutil and nvidia-ml-py beside the standard library, so it runs under our own interpreter. The
command runs under the caller's.
"""

import os
import subprocess
import sys
import time

import psutil
from output import Output
from sampling import COLUMNS, Sampler, machine_memory, open_gpus
from tree import Tree, end_with_parent_gently

_POLL_SECONDS = 0.02
_STOP_SECONDS = 15.0  # for a program that was stopped at its step limit to end by itself
_GRACE_SECONDS = 2.0  # for the probe to stop at the end of a step, once the time is up
_TERM_SECONDS = 3.0  # between asking a process to end and ending it
_RESERVE = 0.02  # of the machine's memory stays free, or the run is ended before the machine is in trouble
_DISK_RESERVE_BYTES = 200 * 1024**2


class Ended(Exception):
    """The run was ended by a limit; the argument names it."""


def answer(request, progress):
    """Run request["command"] in request["cwd"] with request["environment"] on top of this process's.

    Limits: max_seconds, memory_limit_bytes (of the process tree), and what the machine has left. The reply holds the
    exit status, what ended the run, peaks, samples and the file with what it printed. No process is left running.
    """
    tree = Tree()
    end_with_parent_gently(lambda *_: _abandon(tree))
    before = machine_memory()
    started = time.monotonic()
    try:
        child = _start(request, started + request["max_seconds"])
    except OSError as error:
        saw = f"{request['command'][0]}: {error.strerror}"
        return {"refused": {"problem": "The command does not start", "saw": saw, "try_next": "its full path"}}
    tree.main = child.pid
    output = Output(child.stdout, request["patterns"])
    output.start()
    gpus = open_gpus()
    sampler = Sampler(tree, gpus)
    run = Supervision(request, child, tree, sampler, progress, started)
    ended_by = run.until_it_ends()
    seconds = time.monotonic() - started
    tree.look()
    left_behind = 0 if ended_by else len(tree.members)
    tree.end(0 if ended_by in ("memory", "machine_memory", "disk") else _TERM_SECONDS)
    output.join(5)
    with open(request["output"], "wb") as file:
        file.write(output.text())
    found = {"ended_by": ended_by, "seconds": seconds, "started_at": started, "left_behind": left_behind}
    figures = gpus.figures() if gpus else None
    memory = {"machine_before": before, "machine_after": machine_memory()}
    return {**found, **memory, **_used(run, sampler), **output.found(), "gpu": figures}


def _used(run, sampler):
    """What the run took, by the kernel's account and by the samples."""
    one, together = sampler.peaks()
    return {
        "exit_code": run.exit_code,
        "max_rss_bytes": run.max_rss_bytes,
        "own_rss_bytes": psutil.Process().memory_info().rss,
        "peak_process_bytes": one,
        "peak_tree_bytes": together,
        "peak_seen_bytes": run.peak_seen_bytes,
        "cpu_seconds": run.cpu_seconds,
        "most_processes": sampler.most_processes,
        "columns": COLUMNS,
        "samples": sampler.samples,
    }


def _start(request, deadline):
    return subprocess.Popen(
        request["command"],
        cwd=request["cwd"],
        env={**os.environ, **request["environment"], "OPTIMIZING_RESOURCES_DEADLINE": str(deadline)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _abandon(tree):
    tree.end(0)
    os._exit(1)


class Supervision:
    """Watches one child and its tree against the limits."""

    def __init__(self, request, child, tree, sampler, progress, started):
        self._request = request
        self._child = child
        self._tree = tree
        self._sampler = sampler
        self._progress = progress
        self._started = started
        self._limit_file = os.path.join(request["events"], "limit")
        self._limit_seen_at = None
        self._told_at = 0.0
        self._reserve_bytes = _RESERVE * psutil.virtual_memory().total
        self.exit_code = None
        self.max_rss_bytes = 0
        self.cpu_seconds = None
        self.peak_seen_bytes = 0

    def until_it_ends(self):
        """What ended the run: None when it ended by itself, else the limit."""
        try:
            while not self._has_ended():
                self._sampler.sample_when_due()
                self._check(time.monotonic())
                time.sleep(_POLL_SECONDS)
        except Ended as limit:
            self._tree.end(_TERM_SECONDS if limit.args[0] in ("seconds", "steps") else 0)
            while not self._has_ended():
                time.sleep(_POLL_SECONDS)
            return limit.args[0]
        return self._limit_reached()

    def _has_probe(self):
        """Whether a probe has written anything, so that it may still stop the program at the end of a step."""
        return bool(os.listdir(self._request["events"]))

    def _limit_reached(self):
        """The limit at which the probe stopped the program, or None."""
        if not os.path.exists(self._limit_file):
            return None
        with open(self._limit_file, encoding="ascii") as file:
            return file.read() or "steps"

    def _has_ended(self):
        if hasattr(os, "wait4"):
            pid, status, usage = os.wait4(self._child.pid, os.WNOHANG)
            if pid == 0:
                return False
            self.exit_code = self._child.returncode = os.waitstatus_to_exitcode(status)
            self.max_rss_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            self.cpu_seconds = usage.ru_utime + usage.ru_stime
            return True
        self.exit_code = self._child.poll()
        return self.exit_code is not None

    def _check(self, now):
        request = self._request
        if self._limit_seen_at is None and os.path.exists(self._limit_file):
            self._limit_seen_at = now
        if self._limit_seen_at and now > self._limit_seen_at + _STOP_SECONDS:
            raise Ended(self._limit_reached())
        if now > self._started + request["max_seconds"] + (_GRACE_SECONDS if self._has_probe() else 0):
            raise Ended("seconds")
        self._check_memory(now)
        if now > self._told_at + 1:
            self._told_at = now
            self._progress(
                now - self._started, request["max_seconds"], "seconds of {}".format(request["command"][0])
            )
            if psutil.disk_usage(request["events"]).free < _DISK_RESERVE_BYTES:
                raise Ended("disk")

    def _check_memory(self, now):
        limit = self._request["memory_limit_bytes"]
        used = self._tree.resident_bytes()
        if limit and used > limit and len(self._tree.members) > 1:
            used = self._tree.proportional() or used  # shared pages once
        self.peak_seen_bytes = max(self.peak_seen_bytes, used)
        if limit and used > limit:
            raise Ended("memory")
        if psutil.virtual_memory().available < self._reserve_bytes:
            raise Ended("machine_memory")

"""The processes of one run: found wherever they went, sampled, and ended."""

import contextlib
import os
import signal
import sys
import time

import psutil

LINUX = sys.platform.startswith("linux")
_GONE = (psutil.Error, OSError)


def end_with_parent_gently(end):
    """When the server dies, this process gets SIGTERM instead of SIGKILL, and ends the run before itself."""
    signal.signal(signal.SIGTERM, end)
    if LINUX:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # 1 = PR_SET_PDEATHSIG


class Tree:
    """Every descendant of this process."""

    def __init__(self):
        self._own = psutil.Process()
        self.members = {}

    def look(self):
        """Find the members anew; the ones known stay the same objects."""
        found = {}
        with contextlib.suppress(*_GONE):
            found = {child.pid: child for child in self._own.children(recursive=True)}
        self.members = {pid: self.members.get(pid, child) for pid, child in found.items()}

    def resident_bytes(self):
        """The sum of resident memory: shared pages count once per process, so it is an upper bound."""
        total = 0
        for member in self.members.values():
            with contextlib.suppress(*_GONE):
                total += member.memory_info().rss
        return total

    def proportional(self):
        """The sum of proportional shares of resident memory; None where the system does not tell (Linux does)."""
        shares = 0
        for pid in self.members:
            with contextlib.suppress(*_GONE):
                for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
                    if line.startswith("Pss:"):
                        shares += int(line.split()[1]) * 1024
        return shares if LINUX else None

    def memory_marks(self):
        """By pid: the largest resident memory that the kernel has noted so far, and what is swapped out (Linux)."""
        marks = {}
        for pid in self.members if LINUX else ():
            with contextlib.suppress(*_GONE):
                lines = dict(line.split(":", 1) for line in _read(f"/proc/{pid}/status").splitlines())
                if "VmHWM" in lines:  # a zombie has none
                    marks[pid] = tuple(int(lines[name].split()[0]) * 1024 for name in ("VmHWM", "VmSwap"))
        return marks

    def cpu_seconds(self):
        """Processor time used by the members and by the children they have waited for, by pid."""
        used = {}
        for pid, member in self.members.items():
            with contextlib.suppress(*_GONE):
                used[pid] = sum(member.cpu_times()[:4])
        return used

    def run_queue(self):
        """Seconds run, and seconds ready to run but waiting for a processor, by thread (Linux)."""
        times = {}
        for pid in self.members if LINUX else ():
            with contextlib.suppress(*_GONE):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    ran, waited, _ = _read(f"/proc/{pid}/task/{thread}/schedstat").split()
                    times[int(thread)] = (int(ran) / 1e9, int(waited) / 1e9)
        return times

    def end(self, grace_seconds):
        """Ask every member to end (with a grace), then end it; returns when none is left."""
        self.look()
        for member in list(self.members.values()) if grace_seconds else ():
            with contextlib.suppress(*_GONE):
                member.terminate()
        deadline = time.monotonic() + grace_seconds
        while self._alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        while self._alive():
            for member in list(self.members.values()):
                with contextlib.suppress(*_GONE):
                    member.kill()
            time.sleep(0.02)

    def _alive(self):
        self.look()
        self._reap()
        return [m for m in self.members.values() if _is_alive(m)]

    def _reap(self):
        """Collect adopted orphans that have ended; the command itself is waited for elsewhere."""
        for pid, member in list(self.members.items()):
            with contextlib.suppress(*_GONE):
                if (
                    member.status() == psutil.STATUS_ZOMBIE
                    and member.ppid() == self._own.pid
                    and pid != self.main
                ):
                    os.waitpid(pid, os.WNOHANG)

    main = None


def _is_alive(member):
    try:
        return member.status() != psutil.STATUS_ZOMBIE
    except _GONE:
        return False


def _read(path):
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read()

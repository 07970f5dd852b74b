"""What the process tree uses over time: memory, processors, swap, GPUs."""

import contextlib
import time

import psutil

_TICK_SECONDS = 0.1
_SHARE = 50  # a sample may cost a fiftieth of the time to the next one
_KEPT = 4000  # then every second sample goes, and they are taken half as often

# The columns of a sample.
COLUMNS = (
    "at",
    "proportional_bytes",
    "swapped_bytes",
    "cpu_seconds",
    "ran_seconds",
    "waited_seconds",
    "processes",
)


class Sampler:
    """Takes samples of a tree when they are due; keeps peaks, sums and a thinned series."""

    def __init__(self, tree, gpus):
        self._tree = tree
        self._gpus = gpus
        self._due = 0.0
        self._interval = _TICK_SECONDS
        self._cpu, self._queue, self._marks = {}, {}, {}
        self.samples = []
        self.peak_proportional_bytes = 0
        self.most_processes = 0

    def sample_when_due(self):
        now = time.monotonic()
        if now < self._due:
            return
        self._sample(now)
        cost = time.monotonic() - now
        self._due = now + max(self._interval, _SHARE * cost)

    def _sample(self, now):
        tree = self._tree
        tree.look()
        self._cpu.update(tree.cpu_seconds())
        self._queue.update(tree.run_queue())
        marks = tree.memory_marks()
        self._marks.update(marks)
        swapped = sum(swap for _, swap in marks.values())
        shares = tree.proportional() if len(tree.members) > 1 else None
        self.peak_proportional_bytes = max(self.peak_proportional_bytes, shares or 0)
        self.most_processes = max(self.most_processes, len(tree.members))
        if self._gpus:
            self._gpus.sample(set(tree.members))
        ran, waited = (sum(times) for times in zip(*self._queue.values())) if self._queue else (None, None)
        self.samples.append((now, shares, swapped, sum(self._cpu.values()), ran, waited, len(tree.members)))
        if len(self.samples) > _KEPT:
            del self.samples[::2]
            self._interval *= 2

    def peaks(self):
        """The largest resident memory of one process, and the largest sum of proportional shares (0: one process)."""
        return max((mark for mark, _ in self._marks.values()), default=0), self.peak_proportional_bytes


class Gpus:
    """NVIDIA GPUs through NVML: memory of this run's processes, utilisation while they are there."""

    def __init__(self, nvml):
        self._nvml = nvml
        self._handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
        self.names = [str(nvml.nvmlDeviceGetName(handle)) for handle in self._handles]
        self.peak_bytes = 0
        self.utilisations = []  # (at, percent), of the GPUs that the run uses

    def sample(self, pids):
        for handle in self._handles:
            with contextlib.suppress(self._nvml.NVMLError):
                own = [p for p in self._nvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid in pids]
                if own:
                    self.peak_bytes = max(self.peak_bytes, sum(p.usedGpuMemory or 0 for p in own))
                    percent = self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu
                    self.utilisations.append((time.monotonic(), percent))

    def figures(self):
        return {"names": self.names, "peak_bytes": self.peak_bytes, "utilisations": self.utilisations}


def open_gpus():
    """The GPUs of this machine, or None where NVML cannot tell."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return Gpus(pynvml)
    except pynvml.NVMLError:  # no driver, or a card that fell off the bus: no reason to lose the run
        return None


def machine_memory():
    """What the whole machine (and the cgroup of this process) still has, and the faults and kills it has seen."""
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "available_bytes": memory.available,
        "total_bytes": memory.total,
        "swapped_in_bytes": swap.sin,
        "swapped_out_bytes": swap.sout,
        "oom_kills": _oom_kills(),
    }


def _oom_kills():
    """How often the kernel has ended a process for want of memory since it started (Linux)."""
    with contextlib.suppress(OSError), open("/proc/vmstat", encoding="ascii") as file:
        for line in file:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0

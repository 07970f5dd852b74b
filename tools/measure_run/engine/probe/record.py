"""One file of events per process, a JSON array a line; written five times a second, so a killed process leaves them."""

import contextlib
import json
import os
import sys
import time

# What is noted after each optimizer step, in this order; sums are over the time since the step before.
STEP = (
    "at",  # seconds on the monotonic clock
    "optimizer",  # its number, in the order of first steps; -1: a backward pass before any optimizer stepped
    "data_seconds",  # waiting for a DataLoader, and the processor time used meanwhile by the waiting thread
    "data_cpu_seconds",
    "batches",
    "samples",  # first dimensions of those batches
    "gap_seconds",  # from the step before to the first forward pass, without the wait for a DataLoader
    "gap_cpu_seconds",
    "sync_seconds",  # in .item() and its like
    "syncs",
    "user_syncs",  # those called by the program's own code
    "copy_seconds",  # host to accelerator
    "backwards",
    "evaluations",  # forward passes without gradients
    "loss",  # sum of what was backpropagated; None when it lies on an accelerator (noted at the end)
    "graphs",  # autograd graphs that are still alive, about: every fourth one is marked
    "thread_seconds",  # processor time of the training thread
    "anonymous_bytes",  # resident memory that no file backs
    "cpu_seconds",  # of the whole process since its start
    "major_faults",
    "gpu_allocated_bytes",  # torch's own peaks since the start
    "gpu_reserved_bytes",
)

_FLUSH_SECONDS = 0.2


class Record:
    """Appends events of this process; opens its file with the first one."""

    def __init__(self, folder):
        self._folder = folder
        self.forget()

    def forget(self):
        """Start anew in a forked child: what the parent has not written yet is the parent's."""
        self._file = None
        self._pending = []
        self._flushed = 0.0

    def step(self, values):
        """One optimizer step, its values in the order of STEP."""
        self._pending.append(
            ("step", *values)
        )  # encoded when written: nothing that can wait costs a step time
        if values[0] - self._flushed > _FLUSH_SECONDS:
            self.flush(values[0])

    def forward(self, started, seconds):
        """One forward pass without gradients, before any training step."""
        self._pending.append(("forward", started, seconds))
        if started - self._flushed > _FLUSH_SECONDS:
            self.flush(started)

    def note(self, event, **facts):
        """Something that happens once."""
        self._pending.append((event, facts))
        self.flush(time.perf_counter())

    def flush(self, now):
        """Hand everything noted so far to the kernel. A full disk loses events, never the program."""
        lines, self._pending, self._flushed = self._pending, [], now
        with contextlib.suppress(OSError):
            if self._file is None:
                path = os.path.join(self._folder, f"{os.getpid()}.jsonl")
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                lines.insert(0, ("start", _start()))
            os.write(self._file, "".join(json.dumps(line, default=str) + "\n" for line in lines).encode())

    def close(self):
        """Write what is left, when this process has anything to say."""
        if self._file is not None or self._pending:
            self.flush(time.perf_counter())

    def ask_to_stop(self, limit):
        """Tell the supervisor which limit is reached: it ends what does not end by itself."""
        with open(os.path.join(self._folder, "limit"), "w", encoding="ascii") as file:
            file.write(limit)


def _start():
    """Which process this is."""
    ranks = (os.environ.get(name) for name in ("RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"))
    rank = next((rank for rank in ranks if rank is not None), "0")
    return {"pid": os.getpid(), "rank": rank, "argv": sys.argv[:20], "python": sys.version.split()[0]}

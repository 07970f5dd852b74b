"""What is hooked in torch: optimizer steps here, the rest in the parts that Hooks is made of.

Global hooks of torch where it has them; elsewhere a function of torch is wrapped by one that calls it and takes the
time. Nothing is put on a model, an optimizer or a tensor that the program could save.
"""

import os
import threading
import time
import weakref

from .forwards import Forwards
from .guard import harmless
from .loading import Loading
from .losses import MARKED, Losses
from .reading import Reading

try:
    import resource
except ImportError:  # Windows
    resource = None

_SYNCS = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__")
_STATM = "/proc/self/statm"
_COPIES = ("to", "cuda")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class StepLimit(SystemExit):
    """Raised out of the optimizer step that was the last one wanted; `finally` blocks and exit functions still run."""


class Sums:
    """What was seen since the optimizer step before."""

    def __init__(self, now, cpu):
        self.began, self.began_cpu = now, cpu
        self.data = self.data_cpu = self.sync = self.copy = 0.0
        self.batches = self.samples = self.syncs = self.user_syncs = self.backwards = self.evaluations = 0
        self.gap = self.gap_cpu = None
        self.loss = None


class Hooks(Forwards, Loading, Reading, Losses):
    """The state of the probe in one process, and the functions that torch calls."""

    def __init__(self, torch, record):
        self.torch = torch
        self.record = record
        self.max_steps = int(os.environ.get("OPTIMIZING_RESOURCES_MAX_STEPS", "0"))
        self.deadline = float(os.environ.get("OPTIMIZING_RESOURCES_DEADLINE", "inf"))
        self.home = os.path.dirname(torch.__file__)
        self.thread = threading.main_thread().ident
        self.is_user_code = {}
        self.sites = {}
        self.marks = weakref.WeakSet()
        self.read = torch.Tensor.item
        # True only while torch.compile traces a function: it then sees torch's own functions alone, not these wrappers
        self.is_traced = getattr(getattr(torch, "compiler", None), "is_compiling", lambda: False)
        self.unscaled = None
        self.late_losses = []  # (number of the step, tensor on an accelerator)
        self.optimizers = {}  # id -> number, in the order of first steps
        self.lead = None
        self.since_lead = {}
        self.steps = self.all_backwards = 0
        self.stepping = [False]
        self.inside = False  # a DataLoader, or a forward pass that is being timed
        self.sums = Sums(time.perf_counter(), time.thread_time())
        self.statm = os.open(_STATM, os.O_RDONLY) if os.path.exists(_STATM) else None

    def install(self):
        """Hook this process's torch."""
        torch = self.torch
        from torch.optim import optimizer

        self.record.note(
            "torch", version=str(torch.__version__), cuda=torch.version.cuda, threads=torch.get_num_threads()
        )
        if not hasattr(optimizer, "register_optimizer_step_post_hook"):
            self.record.note("unsupported", why="torch is older than 2.0")
            return
        optimizer.register_optimizer_step_pre_hook(self.before_step)
        optimizer.register_optimizer_step_post_hook(self.after_step)
        torch.autograd.backward = self.around_backward(torch.autograd.backward)
        data = torch.utils.data.dataloader
        data._BaseDataLoaderIter.__next__ = self.around_loading(data._BaseDataLoaderIter.__next__)
        data.DataLoader.__iter__ = self.around_loading(data.DataLoader.__iter__)
        torch.amp.GradScaler.scale = self.around_scale(torch.amp.GradScaler.scale)
        for name in _SYNCS:
            setattr(torch.Tensor, name, self.around_sync(getattr(torch.Tensor, name)))
        if torch.cuda.is_available():
            for name in _COPIES:
                setattr(torch.Tensor, name, self.around_copy(getattr(torch.Tensor, name)))
        self.first_forward = torch.nn.modules.module.register_module_forward_pre_hook(
            self.before_first_forward
        )
        import atexit

        atexit.register(self.at_exit)

    # optimizer steps

    def before_step(self, optimizer, args, kwargs):
        """An optimizer reads its step counters with .item(), once per parameter: that is not looked at."""
        self.stepping[0] = True

    @harmless
    def after_step(self, optimizer, args, kwargs):
        self.stepping[0] = False
        if threading.get_ident() != self.thread:
            self.thread = threading.get_ident()  # training runs in a thread of its own
        self.close_lap(self.count(optimizer))
        if self.steps >= self.max_steps > 0:
            self.stop("steps")
        if time.monotonic() > self.deadline:
            self.stop("seconds")

    def close_lap(self, number):
        now, cpu = time.perf_counter(), time.thread_time()
        self.record.step(self.values(number, now, cpu - self.sums.began_cpu))
        self.sums = Sums(now, cpu)

    def count(self, optimizer):
        """Count an iteration whenever the optimizer that steps most often steps; return this one's number."""
        key = id(optimizer)
        if key not in self.optimizers:
            self.optimizers[key] = len(self.optimizers)
            groups = [p for group in optimizer.param_groups for p in group["params"]]
            self.record.note(
                "optimizer",
                number=self.optimizers[key],
                kind=type(optimizer).__qualname__,
                tensors=len(groups),
                parameters=sum(p.numel() for p in groups),
                device=groups[0].device.type if groups else None,
            )
        self.since_lead[key] = self.since_lead.get(key, 0) + 1
        if self.lead is None or key == self.lead or self.since_lead[key] > 1:
            self.lead = key
            self.since_lead = {}
            self.steps += 1
        return self.optimizers[key]

    def values(self, number, now, thread_seconds):
        sums = self.sums
        loss = self.loss_value(sums.loss)
        anonymous, cpu, faults = self.process_figures()
        allocated, reserved = self.gpu_peaks()
        return (
            now,
            number,
            sums.data,
            sums.data_cpu,
            sums.batches,
            sums.samples,
            sums.gap,
            sums.gap_cpu,
            sums.sync,
            sums.syncs,
            sums.user_syncs,
            sums.copy,
            sums.backwards,
            sums.evaluations,
            loss,
            MARKED * len(self.marks),
            thread_seconds,
            anonymous,
            cpu,
            faults,
            allocated,
            reserved,
        )

    def loss_value(self, loss):
        """The number, unless reading it would stall an accelerator: then it is read at the end."""
        if loss is None:
            return None
        if loss.device.type == "cpu":
            return self.read(loss)
        self.late_losses.append((self.steps, loss))
        return None

    def process_figures(self):
        faults = None
        _, anonymous = self.resident()
        if resource is not None:
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        return anonymous, time.process_time(), faults

    def resident(self):
        """Resident memory, and the part of it that no file backs (Linux)."""
        if self.statm is None:
            return None, None
        _, resident, shared = (int(pages) * _PAGE for pages in os.pread(self.statm, 200, 0).split()[:3])
        return resident, resident - shared

    def gpu_peaks(self):
        cuda = self.torch.cuda
        if not cuda.is_initialized():
            return None, None
        devices = range(cuda.device_count())
        return (
            max(cuda.max_memory_allocated(device) for device in devices),
            max(cuda.max_memory_reserved(device) for device in devices),
        )

    # the end

    def stop(self, limit):
        self.record.ask_to_stop(limit)
        raise StepLimit(0)

    @harmless
    def at_exit(self):
        """What is known only at the end, or would have cost time before."""
        if not self.all_backwards and not self.steps:
            return
        busiest = sorted(self.sites.items(), key=lambda item: -item[1])[:3]
        self.record.note(
            "end",
            steps=self.steps,
            threads=self.torch.get_num_threads(),
            sites=[
                [f"{os.path.basename(code.co_filename)}:{line}", count] for (code, line), count in busiest
            ],
            losses=[[step, float(loss)] for step, loss in self.late_losses],
            gpu_peaks=self.gpu_peaks(),
        )

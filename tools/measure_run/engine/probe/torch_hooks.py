"""What is hooked in torch: optimizer steps, backward passes, DataLoader iteration, forward passes, synchronisation.

Global hooks of torch where it has them; elsewhere a function of torch is wrapped by one that calls it and takes the
time. Nothing is put on a model, an optimizer or a tensor that the program could save.
"""

import functools
import gc
import os
import sys
import threading
import time
import weakref

try:
    import resource
except ImportError:  # Windows
    resource = None

_SYNCS = ("item", "tolist", "__bool__", "__float__", "__int__", "__index__")
_MARKED = 4  # one graph in so many is marked
_STATM = "/proc/self/statm"
_COPIES = ("to", "cuda")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class StepLimit(SystemExit):
    """Raised out of the optimizer step that was the last one wanted; `finally` blocks and exit functions still run."""


def harmless(method):
    """A method of the probe whose own failure is noted and never becomes the program's; StepLimit passes."""

    @functools.wraps(method)
    def guarded(self, *args):
        try:
            return method(self, *args)
        except Exception as error:
            self.record.note("probe_failed", where=method.__name__, text=repr(error)[:300])

    return guarded


class Mark:
    """A hook on an autograd node that does nothing; it lives exactly as long as the graph does."""

    def __call__(self, grad_inputs, grad_outputs):
        return None


class Sums:
    """What was seen since the optimizer step before."""

    def __init__(self, now, cpu):
        self.began, self.began_cpu = now, cpu
        self.data = self.data_cpu = self.sync = self.copy = 0.0
        self.early_data = self.early_data_cpu = 0.0  # the part of `data` before the first forward pass
        self.batches = self.samples = self.syncs = self.user_syncs = self.backwards = self.evaluations = 0
        self.gap = self.gap_cpu = None
        self.loss = None


class Hooks:
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
        self.optimizers = {}  # id -> [number, steps]
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

    # forward passes

    @harmless
    def before_first_forward(self, module, inputs):
        """Find the outermost module of training by its first call, then time its class and take this hook away."""
        kind = type(module)
        if self.is_traced() or self.inside or threading.get_ident() != self.thread:
            return
        if "__call__" not in vars(kind) or not hasattr(vars(kind)["__call__"], "optimizing_resources"):
            kind.__call__ = self.around_forward(kind.__call__)
        if self.torch.is_grad_enabled():
            self.first_forward.remove()
            batch = first_tensor(self.torch, inputs)
            facts = {"module": kind.__qualname__, "resident_bytes": self.resident()[0]}
            if batch is not None:
                facts.update(shape=list(batch.shape), dtype=str(batch.dtype), device=batch.device.type)
            self.record.note("model", **facts)

    def around_forward(self, call):
        @functools.wraps(call)
        def timed(module, *args, **kwargs):
            if self.is_traced() or self.inside or threading.get_ident() != self.thread:
                return call(module, *args, **kwargs)
            if self.torch.is_grad_enabled():
                self.note_gap()
                return call(module, *args, **kwargs)
            self.sums.evaluations += 1
            if self.all_backwards:
                return call(module, *args, **kwargs)
            self.inside = True
            start = time.perf_counter()
            try:
                return call(module, *args, **kwargs)
            finally:
                self.inside = False
                self.record.forward(start, time.perf_counter() - start)

        timed.optimizing_resources = True
        return timed

    def note_gap(self):
        """The first forward pass with gradients since the last step begins."""
        sums = self.sums
        if sums.gap is None:
            sums.gap = time.perf_counter() - sums.began - sums.data
            sums.gap_cpu = time.thread_time() - sums.began_cpu - sums.data_cpu

    # data

    def around_loading(self, load):
        @functools.wraps(load)
        def timed(loader):
            if self.inside or threading.get_ident() != self.thread:
                return load(loader)
            self.inside = True
            start, cpu = time.perf_counter(), time.thread_time()
            try:
                batch = load(loader)
            finally:
                self.inside = False
                self.sums.data += time.perf_counter() - start
                self.sums.data_cpu += time.thread_time() - cpu
            tensor = first_tensor(self.torch, batch)
            if tensor is not None:
                self.sums.batches += 1
                self.sums.samples += tensor.shape[0] if tensor.dim() else 1
            return batch

        return timed

    def around_copy(self, copy):
        @functools.wraps(copy)
        def timed(tensor, *args, **kwargs):
            if self.is_traced() or tensor.is_cuda or threading.get_ident() != self.thread:
                return copy(tensor, *args, **kwargs)
            start = time.perf_counter()
            moved = copy(tensor, *args, **kwargs)
            if moved.is_cuda:
                self.sums.copy += time.perf_counter() - start
            return moved

        return timed

    # synchronisation

    def around_sync(self, read):
        stepping, is_traced, known = self.stepping, self.is_traced, self.is_user_code

        @functools.wraps(read)
        def timed(tensor):
            if stepping[0] or is_traced():
                return read(tensor)
            code = sys._getframe(1).f_code
            own = known.get(code)
            if own is None:
                own = self.is_user(code)
            if (not own and tensor.is_cpu) or self.inside or threading.get_ident() != self.thread:
                return read(tensor)
            start = time.perf_counter()
            value = read(tensor)
            self.note_sync(time.perf_counter() - start, own, sys._getframe(1))
            return value

        return timed

    def note_sync(self, seconds, own, frame):
        sums = self.sums
        sums.sync += seconds
        sums.syncs += 1
        if own:
            sums.user_syncs += 1
            site = (frame.f_code, frame.f_lineno)
            self.sites[site] = self.sites.get(site, 0) + 1

    def is_user(self, code):
        """Whether a function is the program's own, not a library's."""
        path = code.co_filename
        own = "site-packages" not in path and not path.startswith((self.home, "<frozen"))
        self.is_user_code[code] = own
        return own

    # backward passes and losses

    def around_scale(self, scale):
        @functools.wraps(scale)
        def noted(scaler, outputs):
            scaled = scale(scaler, outputs)
            if isinstance(outputs, self.torch.Tensor):
                self.unscaled = (weakref.ref(scaled), outputs.detach())
            return scaled

        return noted

    def around_backward(self, backward):
        @functools.wraps(backward)
        def noted(tensors, *args, **kwargs):
            if isinstance(tensors, self.torch.Tensor) and threading.get_ident() == self.thread:
                self.note_loss(tensors)
            result = backward(tensors, *args, **kwargs)
            self.after_backward()
            return result

        return noted

    @harmless
    def note_loss(self, loss):
        self.note_gap()
        if loss.numel() != 1:
            return
        if loss.grad_fn is not None and self.all_backwards % _MARKED == 0:
            mark = Mark()
            loss.grad_fn.register_hook(mark)
            self.marks.add(mark)
        value = loss.detach()
        if self.unscaled and self.unscaled[0]() is loss:
            value = self.unscaled[1]
        self.unscaled = None
        self.sums.loss = value if self.sums.loss is None else self.sums.loss + value

    @harmless
    def after_backward(self):
        """Count the pass; as long as no optimizer has stepped it may be the step itself (updates by hand)."""
        self.sums.backwards += 1
        self.all_backwards += 1
        if self.optimizers:
            return
        self.close_lap(-1)
        if self.all_backwards == self.max_steps and not self.has_optimizer():
            self.stop("steps")

    def has_optimizer(self):
        """Whether optimizer steps are still to come."""
        return any(isinstance(one, self.torch.optim.Optimizer) for one in gc.get_objects())

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
            _MARKED * len(self.marks),
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


def first_tensor(torch, batch, depth=3):
    """The first tensor in a batch of any nesting, else None."""
    if isinstance(batch, torch.Tensor):
        return batch
    if (depth and isinstance(batch, dict)) or (hasattr(batch, "data") and isinstance(batch.data, dict)):
        batch = list((batch if isinstance(batch, dict) else batch.data).values())
    if depth and isinstance(batch, (list, tuple)):
        for item in batch[:8]:
            found = first_tensor(torch, item, depth - 1)
            if found is not None:
                return found
    return None

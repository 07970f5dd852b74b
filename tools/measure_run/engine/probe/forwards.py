"""Forward passes: the outermost module of training, the gap before it, and the latency of inference."""

import functools
import threading
import time

from .guard import first_tensor, harmless


class Forwards:
    """The part of Hooks that sees modules being called."""

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
        elif not self.all_backwards:
            self.time_this_one(module)

    def time_this_one(self, module):
        """Time a forward pass that has begun already: its class is wrapped from the next one on."""
        self.inside = True
        start = time.perf_counter()

        def ended(which, inputs, output):
            if which is module:
                hook.remove()
                self.inside = False
                self.sums.evaluations += 1
                self.record.forward(start, time.perf_counter() - start)

        register = self.torch.nn.modules.module.register_module_forward_hook
        try:
            hook = register(ended, always_call=True)
        except TypeError:  # torch 2.0: a first pass that fails ends the program's inference anyway
            hook = register(ended)

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

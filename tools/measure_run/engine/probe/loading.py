"""Data: waiting for a DataLoader, and copies to an accelerator."""

import functools
import threading
import time

from .guard import first_tensor


class Loading:
    """The part of Hooks that sees batches come and go to the device."""

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

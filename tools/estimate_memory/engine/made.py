"""What make_step leaves alive beside model and batch, whether or not the step ever reads it.

On a CPU it takes memory in any case. On a card it does where it was put there by name (see fake.placed), or made of
what was; a tensor of the default device that the step does not read may as well be on the host: said, not counted.
"""

import gc
import weakref

import torch
from torch._subclasses.fake_tensor import FakeTensor

from . import caveats
from .kernels import tensors

LEAST = 0.01  # of what is held, to be worth a search or a word


class Made:
    """Storages made while make_step ran, by address, as weak references."""

    def __init__(self, recorder):
        self.recorder = recorder
        self.storages = {}

    def note(self, args, result):
        """Remember results; what is made of a tensor on the card is there as well."""
        on_the_card = any(_is_placed(argument) for argument in args)
        for tensor in tensors(result):
            if self._is_of_the_target(tensor):
                storage = tensor.untyped_storage()
                storage.placed = getattr(storage, "placed", False) or on_the_card
                self.storages[storage._cdata] = weakref.ref(storage)

    def hold(self):
        """Count what is left alive and takes memory for sure."""
        if sum(storage.nbytes() for storage in self._idle()) > self.recorder.live_bytes() * LEAST:
            gc.collect()  # cycles that torch leaves behind are let go of at any time
        for storage in self._idle():
            if self.recorder.device.type == "cpu" or storage.placed:
                self.recorder.hold_storage(storage, "constant")

    def tell(self):
        """A caveat about what was not counted, once the step is over."""
        size = sum(storage.nbytes() for storage in self._idle())
        if size > self.recorder.live_bytes() * LEAST:
            caveats.note(
                "tensors that the step never reads",
                "too_low",
                f"{size / 2**20:.0f} MiB made by make_step count only where .to('cuda') or device='cuda' puts them "
                "on the card",
            )

    def _is_of_the_target(self, tensor):
        fake = isinstance(tensor, FakeTensor) and tensor.layout is torch.strided
        return fake and tensor.fake_device == self.recorder.device

    def _idle(self):
        alive = [(address, reference()) for address, reference in self.storages.items()]
        return [s for address, s in alive if s is not None and not self.recorder.is_counted(address)]


def _is_placed(value):
    strided = isinstance(value, FakeTensor) and value.layout is torch.strided
    return strided and getattr(value.untyped_storage(), "placed", False)

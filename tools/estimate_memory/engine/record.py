"""Births and deaths of storages during the step, as the dispatcher shows them.

The recorder keys on storages, not tensors: views and in-place results add nothing. It holds no reference to any
tensor, or the lifetimes would be its own. Events are block numbers: `i` for a birth, `~i` for a death.
"""

import bisect
import sys
import weakref

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from . import caveats, kernels, replaced
from .fake import DEVICE_QUERY, META, Declined
from .made import Made

MOST_VALUES = 10_000  # that one line may ask for
_ADD = torch.ops.aten.add.Tensor


class Recorder(TorchDispatchMode):
    """A dispatch mode that writes down which block is born and freed when, in which phase and module."""

    def __init__(self, device, card):
        super().__init__()
        self.device, self.card = device, card
        self.sizes, self.labels, self.events = [], [], []  # labels: (phase, operator, module)
        self.recording = False
        self.phase = "build"
        self.read_values = {}  # line that asks for a value of a tensor -> how often
        self.fewest = False  # masks select one element instead of all
        self.masks = set()  # operations of the caveats about masks
        self.truth, self.values_asked = (
            True,
            False,
        )  # what bool(tensor) says, and whether any value was asked for
        self.work = {}  # phase -> half and single precision FLOPs, bytes moved, operator calls
        self._live = {}  # address of a storage -> (block, weak reference)
        self._owners = {}  # block -> how many storages stand for it (see _accumulated)
        self._modules = [""]
        self._turns, self._turn_names = [], []  # autograd sequence numbers at which the module changed
        self._workspaces = set()
        self.made = Made(self)
        self._unique = (0, 0)  # use counts of a tensor and its storage that only the engine holds
        self._nodes = {}  # block born in the backward pass -> sequence number of the node that made it

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is DEVICE_QUERY:
            return META if self.device.type == "cuda" else self.device
        kwargs = kwargs or {}
        answer = replaced.REPLACED.get(func)
        result = answer(self, func, args, kwargs) if answer else func(*args, **kwargs)
        if self.phase == "calibration" and func is _ADD:
            self._unique = _use_counts(args[0])
        if self.phase == "build":
            self.made.note(args, result)
        if self.recording:
            self._note_inputs(args)
            if func is _ADD and self.phase == "backward":
                self._accumulated(args, result)
            self._note(func, args, kwargs, result)
            self._count(func, args, kwargs, result)
        return result

    def calibrate(self):
        """Learn what the use counts look like when the engine adds two gradients that nobody else holds."""
        self.phase = "calibration"
        middle = torch.ones(2, 2, device=self.device, requires_grad=True) * 2
        (middle.relu() * middle.sigmoid()).sum().backward()
        self.phase = "build"

    def _accumulated(self, args, result):
        """The engine adds gradients of two paths in place where it may, but never for tensors with a Python class.

        Where it would have, the sum stands for the block of what came first (torch/csrc/autograd/input_buffer.cpp).
        """
        if not self.called_by_the_engine():
            return
        kept, size = args[0], result.untyped_storage().nbytes()
        alone = all(seen <= known for seen, known in zip(_use_counts(kept), self._unique))
        block = self.block_of(kept)
        if block is not None and self._within_a_node(block):
            return
        if alone and block is not None and kept.untyped_storage().nbytes() == size:
            self._watch(result.untyped_storage(), block)

    def _within_a_node(self, block):
        """Whether a derivative's formula adds what it made itself; a product's two gradients may be of one tensor."""
        node = torch._C._current_autograd_node()
        if node is None or self._nodes.get(block) != node._sequence_nr():
            return False
        return not node.name().startswith(_TWO_GRADIENTS)

    def called_by_the_engine(self):
        """Whether autograd's own code asked for the operator; to be called by what __torch_dispatch__ calls."""
        frame = sys._getframe(3)
        while frame is not None and frame.f_code.co_filename.endswith(_WRAPPERS):
            frame = frame.f_back
        return frame is not None and frame.f_code.co_name == "_engine_run_backward"

    def hold(self, tensors, kind):
        """Count tensors that exist already: weights, the batch."""
        for tensor in tensors:
            self._born(tensor, kind)

    def block_of(self, tensor):
        """The block number behind a tensor, or None; a sparse one is known by its parts."""
        if tensor.layout is not torch.strided:
            return None
        entry = self._live.get(tensor.untyped_storage()._cdata)
        return entry[0] if entry else None

    def value_asked(self):
        """Note the line of the caller's code that wants a value no fake tensor has; how often it did."""
        line = _callers_line()
        asked = self.read_values[line] = self.read_values.get(line, 0) + 1
        if asked > MOST_VALUES:
            raise Declined(
                f"The step waits for a value at {line}",
                f"asked {MOST_VALUES:,} times",
                "a fixed number of rounds: these tensors have no values, so a loop that watches one never ends",
            )
        caveats.note(
            f"value of a tensor at {line}",
            "either",
            "a plausible one was given, so another branch may run for real",
        )
        return asked

    def selected(self, mask, what="elements that depend on values"):
        """How many elements a mask selects: all, or one where the least memory is asked for."""
        where = f"{what} at {_callers_line()}"
        caveats.note(where, "too_high", "all were taken")
        self.masks.add(where)
        return min(1, mask.numel()) if self.fewest else mask.numel()

    def enter(self, name):
        self._modules.append(name)
        self._turn(name)

    def leave(self):
        self._modules.pop()
        self._turn(self._modules[-1])

    def _turn(self, name):
        if self.phase == "forward":
            self._turns.append(torch.autograd._get_sequence_nr())
            self._turn_names.append(name)

    def _module(self):
        if len(self._modules) > 1 or self.phase != "backward":
            return self._modules[-1]
        node = torch._C._current_autograd_node()
        at = bisect.bisect_right(self._turns, node._sequence_nr()) - 1 if node is not None else -1
        return self._turn_names[at] if at >= 0 else ""

    def _note_inputs(self, args):
        """A tensor of the target device that an operator reads was there all along: count it from now on."""
        for argument in args:
            if isinstance(argument, FakeTensor):
                self._born(argument, "constant")
            elif isinstance(argument, (list, tuple)):
                for item in argument:
                    if isinstance(item, FakeTensor):
                        self._born(item, "constant")

    def _note(self, func, args, kwargs, result):
        name = None
        for tensor in kernels.tensors(result):
            if tensor.layout is not torch.strided or tensor.untyped_storage()._cdata not in self._live:
                name = name or str(func)
                self._born(tensor, name)
        hidden = [
            (self._block(size, str(func)), lasting)
            for size, lasting in kernels.hidden(self, func, args, kwargs, result)
        ]
        self.events += [~block for block, lasting in hidden if not lasting]

    def _born(self, tensor, name):
        if not isinstance(tensor, FakeTensor) or tensor.fake_device != self.device:
            return
        if tensor.layout is torch.sparse_coo:
            self._born(tensor._indices(), name)
            self._born(tensor._values(), name)
        if tensor.layout is not torch.strided:
            return
        storage = tensor.untyped_storage()
        self.hold_storage(storage, name)

    def hold_storage(self, storage, name):
        """Count a storage from now until it dies."""
        if storage.nbytes() and storage._cdata not in self._live:
            self._watch(storage, self._block(storage.nbytes(), name))

    def is_counted(self, address):
        """Whether the storage at this address is counted now."""
        return address in self._live

    def live_bytes(self):
        """All that is counted now."""
        return sum(self.sizes[block] for block, _ in self._live.values())

    def _watch(self, storage, block):
        address = storage._cdata
        self._owners[block] = self._owners.get(block, 0) + 1

        def died(reference):
            del self._live[address]
            self._owners[block] -= 1
            if not self._owners[block]:
                self.events.append(~block)

        self._live[address] = (block, weakref.ref(storage, died))

    def _block(self, size, name):
        block = len(self.sizes)
        self.sizes.append(size)
        self.labels.append((self.phase, name, self._module()))
        self.events.append(block)
        if self.phase == "backward" and (node := torch._C._current_autograd_node()) is not None:
            self._nodes[block] = node._sequence_nr()
            branch = _OTHER_BRANCHES.get(node.name())
            if branch is not None and any(edge[0] is not None for edge in node.next_functions[branch:]):
                caveats.note(
                    node.name(), "too_high", "its formula for tensors with a Python class makes one copy more"
                )
        return block

    def _count(self, func, args, kwargs, result):
        work = self.work.setdefault(self.phase, {"half": 0, "single": 0, "bytes": 0, "calls": 0})
        if func.is_view:
            return
        work["calls"] += 1
        formula = flop_registry.get(func._overloadpacket)
        outputs = list(kernels.tensors(result))
        if formula is not None:
            half = bool(outputs) and outputs[0].dtype in (torch.float16, torch.bfloat16)
            work["half" if half else "single"] += formula(*args, **kwargs, out_val=result)
        elif outputs:
            # an elementwise kernel reads about twice what it writes
            work["bytes"] += 3 * sum(t.numel() * t.element_size() for t in outputs)

    def workspace(self, size, key):
        """A block that a library keeps for the life of the process, once per key."""
        if key not in self._workspaces:
            self._workspaces.add(key)
            self._block(size, f"workspace of {key}")

    def thread(self):
        """Forward and optimizer run on the caller's thread, the backward pass on one of the engine's."""
        return "backward thread" if self.phase == "backward" else "main thread"


def _use_counts(tensor):
    return tensor._use_count(), torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)


# formulas of FunctionsManual.cpp that spare a copy for plain tensors, and from which input on that counts
_OTHER_BRANCHES = {"SgnBackward0": 0, "TraceBackward0": 0, "ClampBackward0": 1, "BinaryCrossEntropyBackward0": 1,
                   "BinaryCrossEntropyWithLogitsBackward0": 1}  # fmt: skip
_TWO_GRADIENTS = ("Mul", "Div", "Bmm", "Mm", "ScaledDotProduct", "Cat", "Stack")
_WRAPPERS = ("eval_frame.py", "_compile.py")  # of torch._dynamo, around every dispatch mode


def _callers_line():
    """file:line of the innermost frame that belongs neither to torch nor to this engine."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename.replace("\\", "/")
        if not path.startswith("<") and not any(part in path for part in _NOT_THE_CALLERS):
            return f"{path.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return "the optimizer's step"  # which is called from here


_NOT_THE_CALLERS = ("/torch/", "/estimate_memory/engine/", "/_core/child.py", "/_core/warm_child.py")

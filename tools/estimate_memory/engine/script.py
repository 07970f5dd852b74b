"""What a script may ask of torch and cannot have here, answered: values, devices, streams, compilers, processes.

Answers are plausible, and noted as caveats where they may change the prediction; what cannot be answered is declined
in one sentence.
"""

import collections
import contextlib
import sys
import types

import torch
from torch._subclasses.fake_tensor import FakeTensor

from . import caveats
from .fake import Declined, placed, real_world, renamed, target_device

compiled = []  # not empty once a script has asked for torch.compile


def install(kind, card):
    """Answer for the device in question. Global and for good: one process, one device."""
    torch.compile = torch.nn.Module.compile = _uncompiled
    torch.library.wrap_triton = lambda kernel: kernel  # see quiet_kernels
    FakeTensor.tolist, FakeTensor.numpy = _tolist, _numpy
    for name in _REFUSED:
        _refuse(*name)
    _load_data_here()
    _patch_moves(target_device(kind))
    torch.amp.grad_scaler.GradScaler._maybe_opt_step = lambda self, optimizer, state, *args, **kwargs: (
        optimizer.step(*args, **kwargs)  # no gradient is infinite here
    )
    if kind == "cuda":
        _claim_cuda(card)


def _uncompiled(model=None, **options):
    """torch.compile as if it changed nothing; what a compiler fuses away is left out of the prediction."""
    compiled.append(True)
    return model if model is not None else lambda function: function


def _value(tensor):
    return tensor.reshape(-1)[0].item() if tensor.numel() else None  # the recorder knows, or notes the line


def _tolist(self):
    nested = _value(self)
    whole = getattr(self, "whole", None)
    if whole is not None:  # counts, which must add up: even ones
        share, rest = divmod(whole, len(self))
        return [share + (at < rest) for at in range(len(self))]
    for size in reversed(self.shape):
        nested = [nested] * size
    return nested


def _numpy(self, *, force=False):
    value = _value(self)
    with real_world():
        return torch.full(self.shape, value or 0, dtype=self.dtype).numpy()


_SPARSE = ("Sparse tensors cannot be simulated", "index_add over the list of edges, or a dense tensor")
_NESTED = (
    "Nested tensors cannot be simulated",
    "padded tensors of the same lengths with a mask, an upper bound",
)
_PROCESSES = ("Several processes or cards cannot be simulated",
              "the bare module; DDP's buckets add the size of the gradients once more")  # fmt: skip
_REFUSED = [
    *((torch, f"sparse_{layout}_tensor", *_SPARSE) for layout in ("coo", "csr", "csc", "bsr", "bsc")),
    (torch.Tensor, "to_sparse", *_SPARSE),
    (torch.Tensor, "to_sparse_csr", *_SPARSE),
    *(
        (torch.nested, name, *_NESTED)
        for name in ("nested_tensor", "as_nested_tensor", "nested_tensor_from_jagged")
        if hasattr(torch.nested, name)
    ),
    (torch.nn.DataParallel, "__init__", *_PROCESSES),
    (torch.nn.parallel.DistributedDataParallel, "__init__", *_PROCESSES),
    (torch.distributed, "init_process_group", *_PROCESSES),
    (
        torch.nn.modules.lazy.LazyModuleMixin,
        "__init__",
        "Lazy modules cannot be simulated",
        "their sizes written out",
    ),
    (torch.cuda.CUDAGraph, "__new__", "CUDA graphs cannot be simulated", "the step without capture"),
]


def _refuse(owner, name, problem, advice):
    seen = f"{owner.__name__}.{name}".removesuffix(".__init__").removesuffix(".__new__")

    def refusal(*args, **kwargs):
        raise Declined(problem, seen, advice)

    setattr(owner, name, refusal)


def _load_data_here():
    """Workers of a data loader cannot hand fake tensors over: batches are made in this process."""
    loader = torch.utils.data.DataLoader
    original = loader.__init__

    def alone(self, *args, **kwargs):
        kwargs = {key: value for key, value in kwargs.items() if key not in _OF_WORKERS}
        original(self, *args[:5], **kwargs)  # the sixth positional argument is num_workers

    loader.__init__ = alone


_OF_WORKERS = ("num_workers", "prefetch_factor", "persistent_workers", "timeout", "worker_init_fn",
               "multiprocessing_context", "pin_memory", "pin_memory_device")  # fmt: skip


def _patch_moves(device):
    def to(original):
        def call(self, *args, **kwargs):
            args = [renamed(value, device) for value in args]
            kwargs = {key: renamed(value, device) for key, value in kwargs.items()}
            moved = original(self, *args, **kwargs)
            return placed(moved) if any(value is device for value in (*args, *kwargs.values())) else moved

        return call

    for owner in (torch.Tensor, torch.nn.Module):
        owner.to = to(owner.to)
        owner.cuda = lambda self, *args, **kwargs: self.to(device)
    torch.Tensor.type = _of_type(torch.Tensor.type, device)
    torch.Tensor.pin_memory = lambda self, *args, **kwargs: self
    for name, dtype in _OLD_TYPES.items():
        setattr(torch.cuda, name, _old_type(name, dtype, device))


_OLD_TYPES = {
    "FloatTensor": torch.float32, "DoubleTensor": torch.float64, "HalfTensor": torch.float16,
    "BFloat16Tensor": torch.bfloat16, "LongTensor": torch.int64, "IntTensor": torch.int32,
    "ByteTensor": torch.uint8, "BoolTensor": torch.bool,
}  # fmt: skip


def _old_type(name, dtype, device):
    """torch.cuda.FloatTensor and its like: sizes, or data."""

    def make(*given):
        if given and not isinstance(given[0], int):
            return torch.as_tensor(given[0], dtype=dtype, device=device)
        return torch.empty(given, dtype=dtype, device=device)

    make.__name__ = name
    return make


def _of_type(original, device):
    """Tensor.type, also for what stands for torch.cuda.FloatTensor and for its name."""

    def call(self, kind=None, *args, **kwargs):
        name = kind.rpartition(".")[2] if isinstance(kind, str) else getattr(kind, "__name__", "")
        on_the_card = (isinstance(kind, str) and kind.startswith("torch.cuda.")) or isinstance(
            kind, types.FunctionType
        )
        if on_the_card and name in _OLD_TYPES:
            return self.to(device, _OLD_TYPES[name])
        return original(self, *args, **kwargs) if kind is None else original(self, kind, *args, **kwargs)

    return call


class _Stream:
    """A CUDA stream or event of which nothing is known; methods answer None, times one millisecond."""

    def __init__(self, *args, **kwargs):
        caveats.note(
            "CUDA streams", "too_low", "blocks that several streams use are given back later than counted"
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def query(self):
        return True

    def elapsed_time(self, end):
        return 1.0

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def _nothing():
    """A function for what is done without a device or has no effect on memory; torch._dynamo wants each name's own."""
    return lambda *args, **kwargs: None


def _generator_state(*args, **kwargs):
    with real_world():
        return torch.zeros(16, dtype=torch.uint8)


class _Generator(torch.Generator):
    """Random numbers have no values here, so it does not matter which device draws them."""

    def __new__(cls, device=None):
        return super().__new__(cls, "cpu")


def _default_type(kind):
    """torch.set_default_tensor_type, by name or by what stands for torch.cuda.FloatTensor; the device is set."""
    name = kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
    torch.set_default_dtype(_OLD_TYPES[name])


def quiet_kernels():
    """Triton kernels write into tensors that exist already: launched, they do nothing here."""
    jit = sys.modules.get("triton.runtime.jit")
    if jit is not None:
        jit.KernelInterface.__getitem__ = lambda self, grid: _launched


def _launched(*args, **kwargs):
    caveats.note(
        "Triton kernels", "too_low", "they allocate nothing, but autotuning one takes 256 MiB for a moment"
    )


_WITHOUT_ANSWER = (
    "synchronize", "empty_cache", "set_device", "manual_seed", "manual_seed_all", "init", "_lazy_init",
    "reset_peak_memory_stats", "reset_max_memory_allocated", "set_per_process_memory_fraction", "ipc_collect",
    "set_rng_state", "set_rng_state_all",
)  # fmt: skip


def _claim_cuda(card):
    """What scripts ask of torch.cuda, answered for the card in question; nothing reaches a driver."""
    properties = types.SimpleNamespace(
        name=card["name"],
        total_memory=card["memory_bytes"] or 0,
        major=card["capability"][0],
        minor=card["capability"][1],
        multi_processor_count=1,
    )
    answers = {
        "is_available": True,
        "is_current_stream_capturing": False,
        "device_count": 1,
        "current_device": 0,
        "get_device_name": card["name"],
        "get_device_capability": tuple(card["capability"]),
        "get_device_properties": properties,
        "is_bf16_supported": tuple(card["capability"]) >= (8, 0),
        "mem_get_info": (properties.total_memory, properties.total_memory),
        "memory_allocated": 0,
        "max_memory_allocated": 0,
        "memory_reserved": 0,
        "max_memory_reserved": 0,
        "memory_stats": collections.defaultdict(int),
        "memory_summary": "",
        "utilization": 0,
        "memory_snapshot": [],
        "get_rng_state_all": [],
        "device": contextlib.nullcontext(),
        "device_of": contextlib.nullcontext(),
    }
    for name, value in answers.items():
        setattr(torch.cuda, name, lambda *args, _value=value, **kwargs: _value)
    for name in _WITHOUT_ANSWER:
        setattr(torch.cuda, name, _nothing())
    for name in ("_record_memory_history", "_dump_snapshot"):
        setattr(torch.cuda.memory, name, _nothing())
    for name in ("range_push", "range_pop", "mark"):
        setattr(torch.cuda.nvtx, name, _nothing())
    torch.cuda.nvtx.range = lambda *args, **kwargs: contextlib.nullcontext()
    torch.cuda.get_rng_state = _generator_state
    torch.Generator = _Generator
    torch.set_default_tensor_type = _default_type
    torch.nn.RNNBase.flatten_parameters = _nothing()  # into one block, which is as large
    torch.cuda.Stream = torch.cuda.ExternalStream = torch.cuda.Event = _Stream
    torch.cuda.stream = contextlib.nullcontext
    torch.cuda.current_stream = torch.cuda.default_stream = lambda *args, **kwargs: object.__new__(_Stream)
    torch.Tensor.record_stream = lambda self, stream: None

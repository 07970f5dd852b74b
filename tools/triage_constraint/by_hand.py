"""What to do by hand at a remedy, where the cause asks for another hand than the remedy's own tool."""

from typing import NamedTuple

from .._remedies import Effect
from .numbers import Numbers


class Hand(NamedTuple):
    """The instruction; its cost, how to verify it and its effect where these are not the remedy's own."""

    what: str
    cost: str | None = None
    verify: str | None = None
    effect: Effect | None = None


_ENGINE_REPORT = "the engine's own report of cache size at start, and the answers to your own prompts"
_ON_THE_CARD = "the device that the model's parameters name, and the step time before and after"

_BY_HAND: dict[tuple[str, str], Hand] = {
    ("allocator_settings", "fraction_limit"): Hand(
        "raise or remove the cap on this process"
        " (set_per_process_memory_fraction, or the serving engine's memory share)"
    ),
    # a serving engine holds the model: no step of ours to predict, no file of ours to quantize
    ("quantization", "kv_cache"): Hand(
        "weights in 8 or 4 bits in the engine's own format (AWQ, GPTQ, FP8, a smaller GGUF file)",
        "accuracy",
        _ENGINE_REPORT,
    ),
    ("model_reduction", "kv_cache"): Hand("a smaller model of the same family", "accuracy", _ENGINE_REPORT),
    ("sharding", "kv_cache"): Hand(
        "several GPUs by the engine's own means (tensor_parallel_size, --tensor-split)",
        "more GPUs",
        _ENGINE_REPORT,
    ),
    ("cpu_offload", "kv_cache"): Hand(
        "the engine's own offload (cpu_offload_gb, fewer --n-gpu-layers)",
        "much slower answers",
        _ENGINE_REPORT,
    ),
    # a GPU is there and not used
    ("runtime", "apple_silicon"): Hand(
        "use the Mac's own GPU: device 'mps' where torch.backends.mps.is_available(), from a build for arm64;"
        " no Mac with Apple silicon has CUDA",
        "operations that MPS lacks",
        _ON_THE_CARD,
    ),
    ("runtime", "cpu_only_build"): Hand(
        "install the framework's build for CUDA where the job runs; torch.version.cuda then names a version",
        "a large download",
        _ON_THE_CARD,
    ),
    ("runtime", "driver_or_visibility"): Hand(
        "make the card visible: nvidia-smi must list it in this very environment (driver, container started with its"
        " GPUs), CUDA_VISIBLE_DEVICES must not hide it, and torch.version.cuda must not be None",
        "none",
        _ON_THE_CARD,
    ),
    ("runtime", "gpu_not_used"): Hand(
        "move the model and each batch to the card: .to('cuda')", "none", _ON_THE_CARD
    ),
    ("runtime", "checkpoint_map_location"): Hand(
        "load the checkpoint with torch.load(..., map_location='cpu')",
        "none",
        "the checkpoint loads",
        Effect("loads that fail", 0.0, 0.0),
    ),
    ("checkpoint_rotation", "walltime_limit"): Hand(
        "save a checkpoint often and resume from the last one, in jobs that follow one another",
        "the time of each checkpoint",
        "end a run by hand and see the next one go on where it stopped",
    ),
    ("stream_data", "data_loader_bound"): Hand(
        "keep the data decoded, in few large files that are read in sequence, on a disk of this machine",
        "disk space; a pass over the data",
        "share of time waiting for data, before and after",
    ),
}


def by_hand(remedy: str, cause: str | None) -> Hand | None:
    """The instruction that takes the place of the remedy's tool; None where the tool does it."""
    return _BY_HAND.get((remedy, cause or ""))


def room_for_tokens(remedy: str, numbers: Numbers) -> str | None:
    """How long a context may be by the engine's own figure, where the text prints it."""
    tokens = numbers.get("kv_tokens") if remedy == "kv_cache_limit" else None
    return f"by the engine's figure max_model_len at most {tokens}" if tokens else None

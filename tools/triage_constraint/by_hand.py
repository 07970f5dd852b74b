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


ENGINE = "served by an engine"  # in the place of a cause, where the complaint is its speed
_ENGINE_SPEED = "tokens a second of one request, before and after, and the answers to your own prompts"
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
    # the engine's own settings; a smaller file of weights first where some layers lie beside the card
    ("runtime", ENGINE): Hand(
        "the engine's own settings: every layer on the card (its log counts the offloaded ones; num_gpu,"
        " --n-gpu-layers), flash attention, a recent build",
        "none",
        _ENGINE_SPEED,
    ),
    ("quantization", ENGINE): Hand(
        "weights of fewer bits in the engine's own format (Q4_K_M, AWQ, FP8): an answer reads all of them for each"
        " token, and what does not fit the card is read from host memory",
        "accuracy",
        _ENGINE_SPEED,
    ),
    ("smaller_model", ENGINE): Hand(
        "a smaller model of the same family, or a small one beside it that drafts (speculative decoding)",
        "accuracy, but for drafts",
        _ENGINE_SPEED,
    ),
    ("batching", ENGINE): Hand(
        "several requests at once (OLLAMA_NUM_PARALLEL, --parallel; vLLM does so by itself): more tokens in all,"
        " none of them sooner",
        "memory for each request's cache",
        _ENGINE_SPEED,
    ),
    ("stream_data", "download_bandwidth"): Hand(
        "start on the first files while the rest arrive (streaming=True, WebDataset), keep what arrived on this"
        " machine, take several connections and compressed files",
        "a cache on this machine",
        "bytes a second against the link's rate; time until the first batch",
        Effect("time until the first batch", 0.01, 1.0),
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

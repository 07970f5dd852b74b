"""What to do by hand at a remedy, where the cause asks for another hand than the remedy's own tool."""

from .numbers import Numbers

_BY_HAND: dict[tuple[str, str], str] = {
    ("allocator_settings", "fraction_limit"): (
        "raise or remove the cap on this process"
        " (set_per_process_memory_fraction, or the serving engine's memory share)"
    ),
    # a serving engine holds the model: no step of ours to predict, no file of ours to quantize
    ("quantization", "kv_cache"): (
        "weights in 8 or 4 bits in the engine's own format (AWQ, GPTQ, FP8, a smaller GGUF file)"
    ),
    ("model_reduction", "kv_cache"): "a smaller model of the same family",
    ("sharding", "kv_cache"): "several GPUs by the engine's own means (tensor_parallel_size, --tensor-split)",
    ("cpu_offload", "kv_cache"): "the engine's own offload (cpu_offload_gb, fewer --n-gpu-layers)",
    # a GPU is there and not used
    ("runtime", "apple_silicon"): (
        "use the Mac's own GPU: device 'mps' where torch.backends.mps.is_available(), from a build for arm64;"
        " no Mac with Apple silicon has CUDA"
    ),
    ("runtime", "cpu_only_build"): (
        "install the framework's build for CUDA where the job runs; torch.version.cuda then names a version"
    ),
    ("runtime", "driver_or_visibility"): (
        "make the card visible: nvidia-smi must list it in this very environment (driver, container started with its"
        " GPUs), CUDA_VISIBLE_DEVICES must not hide it, and torch.version.cuda must not be None"
    ),
    ("runtime", "gpu_not_used"): "move the model and each batch to the card: .to('cuda')",
    ("runtime", "checkpoint_map_location"): "load the checkpoint with torch.load(..., map_location='cpu')",
    ("checkpoint_rotation", "walltime_limit"): (
        "save a checkpoint often and resume from the last one, in jobs that follow one another"
    ),
    ("stream_data", "data_loader_bound"): (
        "keep the data decoded, in few large files that are read in sequence, on a disk of this machine"
    ),
}


def by_hand(remedy: str, cause: str | None) -> str | None:
    """The instruction that takes the place of the remedy's tool; None where the tool does it."""
    return _BY_HAND.get((remedy, cause or ""))


def room_for_tokens(remedy: str, numbers: Numbers) -> str | None:
    """How long a context may be by the engine's own figure, where the text prints it."""
    tokens = numbers.get("kv_tokens")
    return (
        f"by the engine's figure max_model_len at most {tokens}"
        if remedy == "kv_cache_limit" and tokens
        else None
    )

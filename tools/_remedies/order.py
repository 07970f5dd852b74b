"""Which remedies are tried for a constraint, and for its causes, in the order least harmful first."""

from typing import Any

from .remedy import BACKTEST, COST, DATA, MEASURE, MODEL, PREDICT, QUANTIZE, SERIES, STEP, WORKLOAD

_MEMORY = (
    "mixed_precision",
    "gradient_accumulation",
    "gradient_checkpointing",
    "fused_optimizer",
    "eight_bit_optimizer",
    "lora",
    "optimizer_in_backward",
    "model_reduction",
    "cpu_offload",
    "sharding",
    "pure_bf16",
    "freezing",
    "paged_optimizer",
    "zero_grad_none",
    "pruning",
    "channels_last",
)
_SERVING_MEMORY = ("quantization", "model_reduction", "sharding", "cpu_offload", "kv_cache_limit")
INFERENCE_MEMORY = ("inference_mode", *_SERVING_MEMORY)  # where nothing is trained
_BILLS = (
    "right_size",
    "spot",
    "scale_to_zero",
    "batch_inference",
    "serverless",
    "quantization",
    "fewer_experiments",
)
_A_GPU_UNUSED = ("runtime", "cpu_threads", "quantization", "smaller_model")
_ON_A_CPU = ("cpu_threads", "quantization", "lightgbm_baseline", "dlinear", "nhits", "simpler_model")
SLOW_ENGINE = ("runtime", "quantization", "smaller_model", "batching")
_FAST = ("runtime", "quantization", "batching", "distillation", "pruning", "simpler_architecture", "warm_up")

ORDER: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("gpu_memory", None): _MEMORY,
    ("gpu_memory", "fragmentation"): ("allocator_settings", *_MEMORY),
    ("gpu_memory", "other_process"): ("free_other_process", *_MEMORY),
    ("gpu_memory", "fraction_limit"): ("allocator_settings", *_MEMORY),
    ("gpu_memory", "leak"): ("release_graph", *_MEMORY),
    ("gpu_memory", "eval_no_grad"): ("inference_mode", *_MEMORY),
    ("gpu_memory", "kv_cache"): ("kv_cache_limit", *_SERVING_MEMORY),
    ("gpu_memory", "model_weights_too_large"): (
        "lora",
        "quantization",
        "sharding",
        "cpu_offload",
        "model_reduction",
        "mixed_precision",
        "eight_bit_optimizer",
    ),
    ("gpu_memory", "cuda_context_init"): ("free_other_process", *_MEMORY),
    ("gpu_memory", "device_map_imbalance"): ("sharding", "free_other_process", *_MEMORY),
    ("gpu_memory", "batch_too_large"): ("gradient_accumulation", "mixed_precision", *_MEMORY[2:]),
    ("gpu_memory", "single_huge_tensor"): (
        "gradient_accumulation",
        "gradient_checkpointing",
        "mixed_precision",
        *_MEMORY[3:],
    ),
    ("gpu_memory", "input_too_large"): (
        "mixed_precision",
        "gradient_checkpointing",
        "gradient_accumulation",
        *_MEMORY[3:],
    ),
    ("host_memory", None): ("stream_data", "fewer_workers", "memory_map", "container_limit"),
    ("host_memory", "shm_limit"): ("shm_size", "fewer_workers"),
    ("host_memory", "dataloader_workers"): ("fewer_workers", "stream_data", "memory_map", "container_limit"),
    ("host_memory", "worker_count"): ("fewer_workers", "container_limit", "memory_map"),
    ("host_memory", "container_limit"): ("container_limit", "stream_data", "fewer_workers", "memory_map"),
    ("host_memory", "slurm_limit"): ("container_limit", "stream_data", "fewer_workers", "memory_map"),
    ("host_memory", "leak"): ("release_graph", "fewer_workers", "stream_data"),
    ("host_memory", "single_huge_array"): ("stream_data", "memory_map", "container_limit"),
    ("host_memory", "serialization_peak"): ("memory_map", "checkpoint_rotation", "container_limit"),
    ("disk", None): ("disk_cleanup", "checkpoint_rotation", "stream_data"),
    ("disk", "checkpoints"): ("checkpoint_rotation", "disk_cleanup"),
    ("compute_time", None): (
        "dataloader",
        "mixed_precision",
        "compile",
        "larger_batch",
        "lr_schedule",
        "early_stopping",
        "channels_last",
        "smaller_model",
        "fewer_experiments",
    ),
    ("compute_time", "true_capacity"): (
        "mixed_precision",
        "compile",
        "channels_last",
        "early_stopping",
        "lr_schedule",
        "smaller_model",
        "fewer_experiments",
    ),
    ("compute_time", "data_loader_bound"): ("dataloader", "stream_data", "larger_batch"),
    ("compute_time", "gpu_underused"): (
        "dataloader",
        "larger_batch",
        "mixed_precision",
        "compile",
        "channels_last",
    ),
    ("compute_time", "gpu_not_used"): ("cpu_threads", "dataloader", "smaller_model"),
    ("compute_time", "schedule_too_long"): (
        "early_stopping",
        "lr_schedule",
        "fewer_experiments",
        "smaller_model",
    ),
    ("compute_time", "slowdown_over_time"): ("release_graph", "dataloader"),
    ("compute_time", "model_too_big"): ("mixed_precision", "compile", "smaller_model", "sharding"),
    ("compute_time", "walltime_limit"): (
        "checkpoint_rotation",
        "mixed_precision",
        "dataloader",
        "compile",
        "early_stopping",
    ),
    ("inference_latency", None): _FAST,
    ("inference_latency", "no_batching"): ("batching", *(r for r in _FAST if r != "batching")),
    ("inference_latency", "throughput"): ("batching", *(r for r in _FAST if r != "batching")),
    ("inference_latency", "warmup"): ("warm_up", "runtime", "quantization"),
    ("inference_latency", "cpu_inference"): ("cpu_threads", *_FAST),
    ("inference_latency", "backend_misconfig"): ("cpu_threads", *_FAST),
    ("training_data", None): (
        "simpler_model",
        "foundation_model",
        "transfer_learning",
        "augmentation",
        "few_shot",
        "early_stopping",
    ),
    ("training_data", "overfitting"): (
        "early_stopping",
        "simpler_model",
        "augmentation",
        "transfer_learning",
        "foundation_model",
    ),
    ("budget", None): _BILLS,
    ("budget", "idle_resources"): ("scale_to_zero", "right_size", "serverless", "batch_inference", "spot"),
    ("budget", "inference_cost"): (
        "scale_to_zero",
        "batch_inference",
        "serverless",
        "right_size",
        "quantization",
        "spot",
    ),
    ("budget", "training_cost"): (
        "right_size",
        "spot",
        "mixed_precision",
        "early_stopping",
        "fewer_experiments",
    ),
    ("budget", "spot"): ("spot", "checkpoint_rotation", "right_size"),
    ("no_gpu", None): _ON_A_CPU,
    ("no_gpu", "apple_silicon"): _A_GPU_UNUSED,
    ("no_gpu", "cpu_only_build"): _A_GPU_UNUSED,
    ("no_gpu", "driver_or_visibility"): _A_GPU_UNUSED,
    ("no_gpu", "gpu_not_used"): _A_GPU_UNUSED,
    ("no_gpu", "checkpoint_map_location"): _A_GPU_UNUSED,
    ("edge", None): ("int8", "export_format", "size_budget", "pruning", "distillation"),
    ("edge", "device_memory"): ("size_budget", "int8", "pruning", "distillation", "export_format"),
    ("edge", "size_limit"): ("size_budget", "int8", "pruning", "distillation"),
    ("edge", "device_latency"): ("export_format", "int8", "pruning", "distillation", "simpler_architecture"),
    ("network", None): ("interconnect", "no_sync", "larger_batch", "timeout_settings"),
    ("network", "multi_gpu_scaling"): ("interconnect", "no_sync", "larger_batch", "dataloader"),
    ("network", "nccl_timeout"): ("timeout_settings", "interconnect", "dataloader"),
    ("network", "nccl_hang"): ("timeout_settings", "interconnect"),
    ("network", "download_bandwidth"): ("stream_data",),
}


# What is looked at before anything is changed: the baseline, and the prediction where one can be had.
COMMAND = "command: the training command"
PREPARE: dict[str, tuple[tuple[str, dict[str, Any], tuple[str, ...]], ...]] = {
    "gpu_memory": ((MEASURE, {"max_steps": 30}, (COMMAND,)), (PREDICT, {"remedies": "search"}, (STEP,))),
    "host_memory": ((MEASURE, {"max_steps": 30}, (COMMAND,)),),
    "compute_time": ((MEASURE, {"max_steps": 30}, (COMMAND,)),),
    "inference_latency": ((MEASURE, {}, ("target: file.py:function",)),),
    "training_data": ((BACKTEST, {}, (SERIES, "horizon: steps to forecast")),),
    "budget": ((COST, {}, (WORKLOAD,)),),
    "no_gpu": (("detect_hardware", {}, ()),),
    "edge": ((QUANTIZE, {}, (MODEL, DATA)),),
    "network": ((MEASURE, {"max_steps": 30}, (COMMAND,)),),
}

# Where a training step on the CPU fills host memory (only a measurement shows that), the step itself is made smaller
# first: the CPU is the device then.
STEP_ON_CPU = ("gradient_accumulation", "gradient_checkpointing")
PREPARE_STEP_ON_CPU = ((PREDICT, {"remedies": "search", "gpu": "cpu"}, (STEP,)),)

# How people and programs say that a resource is short; the table in SKILL.md is made of this.
SYMPTOMS = {
    "gpu_memory": "`CUDA out of memory`, HIP/MPS/XLA out of memory, `CUBLAS_STATUS_ALLOC_FAILED`, KV cache too small",
    "host_memory": "`Killed`, exit code 137, `MemoryError`, `oom-kill`, `OOMKilled`, bus error, shared memory",
    "disk": "`No space left on device`, quota exceeded, a checkpoint cut short",
    "compute_time": "training takes days, GPU not busy, time limit, slower every epoch",
    "inference_latency": "an answer takes too long, low fps, time-outs, a slow first call",
    "training_data": "few samples, overfitting, short series",
    "budget": "the bill is too high, charged while idle, which plan is cheapest",
    "no_gpu": "`Torch not compiled with CUDA`, no CUDA device, CPU or Mac only",
    "edge": "Jetson, Raspberry Pi, microcontroller, phone: too slow, too large",
    "network": "several GPUs slower than one, NCCL time-outs and hangs, slow downloads",
}


def ordered(constraint: str, sub_cause: str | None) -> tuple[str, ...]:
    """Remedy ids for a constraint, least harmful first; empty for what is not a resource problem."""
    return ORDER.get((constraint, sub_cause)) or ORDER.get((constraint, None), ())

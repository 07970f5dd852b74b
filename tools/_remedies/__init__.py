"""The one table of remedies: what each relieves, what it costs, how to verify it, and which tool applies it.

`ORDER` at the end says which remedies are tried for a constraint (and a sub-cause), in the order least harmful first.
To add a remedy: a row here, its place in ORDER, and its heading in references/remedies.md.
"""

from dataclasses import dataclass, field
from typing import Any

PATCH, PREDICT, MEASURE = "apply_amp_patch", "estimate_memory", "measure_run"
QUANTIZE, PRUNE, DISTILL = "quantize_model", "prune_model", "distill_model"
AUGMENT, BACKTEST, COST = "augment_series", "compare_baselines", "estimate_cost"

SCRIPT = "path: the training script"
STEP = "step: a file with make_step() or a Hugging Face config.json, see references/memory.md"
MODEL = "model: the model file (.onnx, .pt2 or file.py:factory)"
TREES = "model: the model file (LightGBM, XGBoost or scikit-learn)"
DATA = "data: rows to calibrate and to judge on (.npz with x and y)"
TRAIN_DATA = "train_data: rows to fine-tune or to teach on"
LOSS = "loss: cross_entropy, l1, mse or file.py:function"
SERIES = "path: the series as CSV or Parquet"
WORKLOAD = "workload: hours or a measured step time, see references/cost.md"
# What a workload holds, where the cause of the bill says which kind it is.
WORKLOADS = {
    "idle_resources": "workload: kind running with usd_per_hour and busy_hours_per_day, see references/cost.md",
    "inference_cost": (
        "workload: kind inference with requests_per_day and seconds_per_request, see references/cost.md"
    ),
}


@dataclass(frozen=True)
class Effect:
    """What a remedy is expected to change: a range of ratios after / before, never a single rule of thumb."""

    quantity: str
    low_ratio: float
    high_ratio: float
    note: str = ""


@dataclass(frozen=True)
class Remedy:
    """One remedy. `changes_results` means a quality measurement has to go with it."""

    id: str
    what: str
    effect: Effect
    cost: str
    verify: str
    changes_results: bool = False
    tool: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    elsewhere: dict[str, Effect] = field(default_factory=dict)  # by constraint, where the effect is another

    def effect_on(self, constraint: str) -> Effect:
        """What the remedy is expected to change where `constraint` binds."""
        return self.elsewhere.get(constraint, self.effect)


_PEAK, _STEP, _LATENCY, _BILL, _ERROR = "peak GPU memory", "step time", "latency", "cost", "error"
_HOST, _DISK, _EPOCH = "peak host memory", "disk use", "time to the same quality"
_AROUND = "activations shrink; the interpreter, its libraries and the data stay"
_PEAK_CHECK = "peak memory before and after, loss curves together"
_TIME_CHECK = "median step time before and after, at least 3 interleaved runs"
_BUDGET_CHECK = "the metric on held-out rows, and latency, interleaved with the original"


def _patch(remedy: str, **arguments: Any) -> dict[str, Any]:
    return {"tool": PATCH, "arguments": {"remedies": [remedy], **arguments}, "needs": (SCRIPT,)}


def _predict(remedy: str) -> dict[str, Any]:
    return {"tool": PREDICT, "arguments": {"remedies": [remedy]}, "needs": (STEP,)}


def _compress(tool: str) -> dict[str, Any]:
    needs = (MODEL, DATA) if tool == QUANTIZE else (MODEL, DATA, TRAIN_DATA, LOSS)
    return {"tool": tool, "arguments": {}, "needs": needs}


REMEDIES = (
    # GPU memory
    Remedy(
        "mixed_precision",
        "run forward and backward in 16 bits, keep the weights in 32",
        Effect(_PEAK, 0.5, 1.0, "activations halve, weights and optimizer stay"),
        "none to a gain in speed on tensor cores",
        _PEAK_CHECK,
        True,
        **_patch("mixed_precision"),
        elsewhere={"compute_time": Effect(_STEP, 0.35, 1.1), "budget": Effect(_STEP, 0.35, 1.1)},
    ),
    Remedy(
        "gradient_accumulation",
        "work each batch off as micro-batches; samples per optimizer step stay the same",
        Effect(_PEAK, 0.25, 0.9, "activations shrink with the micro-batch"),
        "a little step time; BatchNorm sees smaller batches",
        _PEAK_CHECK,
        **_patch("gradient_accumulation", accumulation_steps=4),
        elsewhere={"host_memory": Effect(_HOST, 0.3, 1.0, _AROUND)},
    ),
    Remedy(
        "gradient_checkpointing",
        "recompute activations of the repeated blocks in backward",
        Effect(_PEAK, 0.3, 0.8, "activations of the blocks are not kept"),
        "about one more forward pass per step",
        _PEAK_CHECK,
        **_patch("gradient_checkpointing"),
        elsewhere={"host_memory": Effect(_HOST, 0.4, 1.0, _AROUND)},
    ),
    Remedy(
        "model_reduction",
        "a smaller model of the same family",
        Effect(_PEAK, 0.2, 0.9),
        "quality, to be measured",
        _PEAK_CHECK,
        True,
        **_predict("model_reduction"),
    ),
    Remedy(
        "pruning",
        "remove whole channels or heads, then fine-tune briefly",
        Effect(_LATENCY, 0.3, 0.9),
        "a fine-tune; quality",
        _BUDGET_CHECK,
        True,
        **_compress(PRUNE),
        elsewhere={"gpu_memory": Effect(_PEAK, 0.5, 1.0), "edge": Effect("model size", 0.3, 0.9)},
    ),
    Remedy(
        "eight_bit_optimizer",
        "keep the optimizer's state in 8 bits",
        Effect(_PEAK, 0.6, 1.0, "Adam's state falls to a quarter; nothing when activations set the peak"),
        "a further library",
        _PEAK_CHECK,
        True,
        **_predict("eight_bit_optimizer"),
    ),
    Remedy(
        "paged_optimizer",
        "let the optimizer's state move to host memory under pressure",
        Effect(_PEAK, 0.5, 1.0),
        "slower steps while it pages",
        _PEAK_CHECK,
        **_predict("paged_optimizer"),
    ),
    Remedy(
        "fused_optimizer",
        "one kernel for the whole optimizer step",
        Effect(_PEAK, 0.8, 1.0, "removes the step's intermediates; nothing when activations set the peak"),
        "none",
        _PEAK_CHECK,
        **_patch("fused_optimizer"),
    ),
    Remedy(
        "optimizer_in_backward",
        "update each parameter as its gradient arrives and free it",
        Effect(_PEAK, 0.7, 1.0),
        "no accumulation, no global clipping",
        _PEAK_CHECK,
        **_predict("optimizer_in_backward"),
    ),
    Remedy(
        "pure_bf16",
        "weights and optimizer state in bf16 as well",
        Effect(_PEAK, 0.45, 0.7),
        "small updates are lost; quality must be measured",
        _PEAK_CHECK,
        True,
        **_predict("pure_bf16"),
    ),
    Remedy(
        "freezing",
        "train only the last layers",
        Effect(_PEAK, 0.2, 0.8),
        "quality",
        _PEAK_CHECK,
        True,
        **_predict("freezing"),
    ),
    Remedy(
        "lora",
        "train low-rank adapters, keep the base frozen",
        Effect(_PEAK, 0.2, 0.7, "no gradients and no optimizer state for the base"),
        "quality on tasks far from pre-training",
        _PEAK_CHECK,
        True,
        **_predict("lora"),
    ),
    Remedy(
        "cpu_offload",
        "keep optimizer state or activations in host memory",
        Effect(_PEAK, 0.3, 0.8),
        "much slower steps over PCIe; host memory",
        _PEAK_CHECK,
        **_predict("cpu_offload"),
    ),
    Remedy(
        "allocator_settings",
        "expandable segments for the caching allocator, set before the first CUDA call",
        Effect("reserved GPU memory", 0.7, 1.0, "returns fragmented memory only"),
        "none",
        "reserved minus allocated at the peak, before and after",
        **_patch("allocator_settings"),
    ),
    Remedy(
        "zero_grad_none",
        "free gradients instead of zeroing them",
        Effect(_PEAK, 0.85, 1.0),
        "none; the default since torch 2.0",
        _PEAK_CHECK,
        **_patch("zero_grad_none"),
    ),
    Remedy(
        "channels_last",
        "NHWC layout for convolutions",
        Effect(_STEP, 0.7, 1.05),
        "layout conversions where an operation lacks it",
        _TIME_CHECK,
    ),
    Remedy(
        "kv_cache_limit",
        "bound the key-value cache: shorter max_model_len, fewer sequences, 8-bit cache",
        Effect("KV cache", 0.1, 1.0, "linear in context length and sequences"),
        "shorter contexts or fewer parallel requests",
        "the engine's own report of cache size at start",
    ),
    Remedy(
        "free_other_process",
        "end or move what else holds memory on the card",
        Effect("memory in use by others", 0.0, 1.0),
        "somebody else's work: ask first",
        "nvidia-smi before the start",
        tool="detect_hardware",
    ),
    Remedy(
        "release_graph",
        "keep numbers, not tensors with their graph: .item() or .detach() where values are collected",
        Effect("growth per step", 0.0, 0.1),
        "none",
        "memory after step 10 and after step 100",
        tool=MEASURE,
        needs=("command: the training command",),
        elsewhere={"compute_time": Effect("growth of the step time", 0.0, 0.2)},
    ),
    Remedy(
        "inference_mode",
        "evaluate without recording gradients",
        Effect("peak of evaluation", 0.1, 0.7),
        "none",
        _PEAK_CHECK,
        **_patch("inference_mode"),
    ),
    Remedy(
        "sharding",
        "spread weights, gradients and optimizer state over several GPUs (FSDP, ZeRO)",
        Effect(_PEAK, 0.15, 0.7, "falls with the number of GPUs; activations stay"),
        "communication; more GPUs",
        _PEAK_CHECK,
        **_predict("sharding"),
        elsewhere={"compute_time": Effect(_STEP, 0.3, 1.2)},
    ),
    # time
    Remedy(
        "smaller_model",
        "a smaller model of the same family",
        Effect(_STEP, 0.2, 0.9),
        "quality, to be measured",
        _TIME_CHECK,
        True,
        elsewhere={"inference_latency": Effect(_LATENCY, 0.1, 0.9)},
    ),
    Remedy(
        "lr_schedule",
        "fewer epochs with a one-cycle or cosine schedule with warm-up",
        Effect(_EPOCH, 0.3, 1.0),
        "needs a tuned peak rate",
        "time to the same validation metric",
        True,
        **_patch("lr_schedule"),
    ),
    Remedy(
        "early_stopping",
        "stop when the validation metric no longer improves",
        Effect(_EPOCH, 0.2, 1.0),
        "too little patience stops too early",
        "the best metric with and without",
        True,
        **_patch("early_stopping"),
    ),
    Remedy(
        "dataloader",
        "more workers, pinned memory, persistent workers, pre-decoded data",
        Effect(_STEP, 0.2, 1.0, "only the share that waits for data can go"),
        "host memory per worker",
        "share of time waiting for data, before and after",
        **_patch("dataloader"),
    ),
    Remedy(
        "compile",
        "torch.compile",
        Effect(_STEP, 0.5, 1.05),
        "minutes of compilation; graph breaks",
        _TIME_CHECK,
        **_patch("compile"),
    ),
    Remedy(
        "larger_batch",
        "a larger batch where the GPU is not busy",
        Effect("time per sample", 0.3, 1.0),
        "memory; the learning rate has to follow",
        _TIME_CHECK,
        True,
        tool=PREDICT,
        arguments={"remedies": []},
        needs=(STEP,),
    ),
    Remedy(
        "fewer_experiments",
        "stop bad trials early and drop trials that cannot change the decision",
        Effect("number of full runs", 0.1, 0.7),
        "a pruned trial may have been the best",
        "the decision with and without on past runs",
        tool=COST,
        needs=(WORKLOAD,),
    ),
    # latency
    Remedy(
        "quantization",
        "8-bit weights (and activations) within the accuracy budget; the search includes keeping fp32",
        Effect(_LATENCY, 0.3, 1.5, "above 1 where the CPU lacks the instructions or convolutions go dynamic"),
        "accuracy, bounded by max_metric_drop",
        _BUDGET_CHECK,
        True,
        **_compress(QUANTIZE),
        elsewhere={
            "gpu_memory": Effect("memory of the weights", 0.25, 0.55),
            "budget": Effect(_BILL, 0.4, 1.2),
        },
    ),
    Remedy(
        "distillation",
        "train a small student on the large model's outputs",
        Effect(_LATENCY, 0.1, 0.7),
        "training time; accuracy",
        _BUDGET_CHECK,
        True,
        **_compress(DISTILL),
    ),
    Remedy(
        "simpler_architecture",
        "a cheaper architecture for the same task",
        Effect(_LATENCY, 0.05, 0.8),
        "accuracy; a new training",
        _BUDGET_CHECK,
        True,
    ),
    Remedy(
        "batching",
        "answer several inputs in one forward pass",
        Effect("time per input", 0.05, 0.9),
        "the first input waits for the last",
        "throughput and p95 by batch size",
        tool=MEASURE,
        needs=("target: file.py:function",),
    ),
    Remedy(
        "runtime",
        "an inference runtime with its thread and session settings (ONNX Runtime, OpenVINO, TensorRT)",
        Effect(_LATENCY, 0.2, 1.1),
        "an export that must be checked",
        _BUDGET_CHECK,
        tool=QUANTIZE,
        needs=(MODEL, DATA),
        elsewhere={"no_gpu": Effect(_STEP, 0.02, 1.0, "a GPU against the CPU")},
    ),
    Remedy(
        "warm_up",
        "load and call once before traffic arrives",
        Effect("first call", 0.02, 0.5),
        "start-up time",
        "first call against the median",
        tool=MEASURE,
        needs=("target: file.py:function",),
    ),
    # data
    Remedy(
        "foundation_model",
        "a pre-trained model, zero-shot",
        Effect(_ERROR, 0.6, 1.2, "loses to seasonal naive on some series"),
        "a large download; slower inference",
        "the same rolling-origin backtest",
        True,
        tool=BACKTEST,
        arguments={"models": ["seasonal_naive", "chronos_bolt", "chronos_2"]},
        needs=(SERIES, "horizon: steps to forecast"),
    ),
    Remedy(
        "transfer_learning",
        "start from weights trained on related data, fine-tune the last layers first",
        Effect(_ERROR, 0.5, 1.1),
        "a related source is needed",
        "the metric on held-out rows, several seeds",
        True,
    ),
    Remedy(
        "augmentation",
        "synthetic copies of the training rows only (`train_until` says where those end: copies of later rows leak)",
        Effect(_ERROR, 0.85, 1.15, "helps, hurts or does nothing: only a paired backtest tells"),
        "training time",
        "paired backtest with and without",
        True,
        tool=AUGMENT,
        needs=(SERIES,),
    ),
    Remedy(
        "simpler_model",
        "fewer parameters, stronger regularisation, or statistical baselines",
        Effect(_ERROR, 0.7, 1.2),
        "misses structure that is there",
        "the same cross-validation for both",
        True,
        tool=BACKTEST,
        arguments={"models": ["seasonal_naive", "auto_ets", "auto_theta", "lightgbm"]},
        needs=(SERIES, "horizon: steps to forecast"),
    ),
    Remedy(
        "few_shot",
        "prompts or prototypes with the few labelled examples",
        Effect(_ERROR, 0.5, 1.3),
        "depends on the pre-trained model",
        "held-out rows, several draws of the examples",
        True,
    ),
    # money
    Remedy(
        "spot",
        "spot capacity with checkpoints",
        Effect(_BILL, 0.2, 1.5, "above 1 for long jobs without checkpoints"),
        "interruptions",
        "expected cost with interruptions against on demand",
        tool=COST,
        needs=(WORKLOAD,),
    ),
    Remedy(
        "right_size",
        "the smallest machine whose memory and speed suffice",
        Effect(_BILL, 0.2, 1.0),
        "longer wall time",
        "cost of the job, not of the hour",
        tool=COST,
        needs=(WORKLOAD,),
    ),
    Remedy(
        "batch_inference",
        "answer collected requests in scheduled jobs",
        Effect(_BILL, 0.05, 0.6),
        "answers come later",
        "cost per thousand answers",
        tool=COST,
        needs=(WORKLOAD,),
    ),
    Remedy(
        "serverless",
        "pay per request",
        Effect(_BILL, 0.01, 3.0, "cheaper only below the break-even load"),
        "cold starts",
        "the break-even in requests per day",
        tool=COST,
        needs=(WORKLOAD,),
    ),
    Remedy(
        "scale_to_zero",
        "stop machines that serve nobody: idle shutdown, schedules",
        Effect(_BILL, 0.05, 0.9),
        "the first request after a pause waits",
        "billed hours against busy hours",
        tool=COST,
        needs=(WORKLOAD,),
    ),
    # no GPU
    Remedy(
        "lightgbm_baseline",
        "gradient-boosted trees on lagged features",
        Effect("training time", 0.001, 0.2, "against a deep model on the same CPU"),
        "needs features",
        "the same backtest",
        True,
        tool=BACKTEST,
        arguments={"models": ["seasonal_naive", "lightgbm"]},
        needs=(SERIES, "horizon: steps to forecast"),
    ),
    Remedy(
        "dlinear",
        "a linear forecaster",
        Effect("training time", 0.001, 0.2),
        "no non-linear structure",
        "the same backtest",
        True,
        tool=BACKTEST,
        arguments={"models": ["seasonal_naive", "dlinear"]},
        needs=(SERIES, "horizon: steps to forecast"),
    ),
    Remedy(
        "nhits",
        "a small multi-rate forecaster that trains on a CPU",
        Effect("training time", 0.01, 0.5),
        "slower than linear",
        "the same backtest",
        True,
        tool=BACKTEST,
        arguments={"models": ["seasonal_naive", "nhits"]},
        needs=(SERIES, "horizon: steps to forecast"),
    ),
    Remedy(
        "cpu_threads",
        "as many threads as usable cores, and a build that uses the CPU's vector instructions",
        Effect(_LATENCY, 0.2, 1.1),
        "none",
        "latency by number of threads",
        tool="detect_hardware",
        elsewhere={"compute_time": Effect(_STEP, 0.2, 1.1)},
    ),
    # edge
    Remedy(
        "size_budget",
        "a byte budget for weights, arena and code, checked at build time",
        Effect("image size", 0.2, 1.0),
        "limits the model",
        "the linker's map; the arena's high-water mark",
        tool=QUANTIZE,
        needs=(MODEL, DATA, "max_size_bytes: the budget"),
    ),
    Remedy(
        "int8",
        "full 8-bit model for the device's integer units",
        Effect("model size", 0.25, 0.5),
        "accuracy",
        "accuracy on held-out rows, on the device where possible",
        True,
        **_compress(QUANTIZE),
    ),
    Remedy(
        "export_format",
        "the device's own format (TensorRT, LiteRT, Core ML, ExecuTorch, ORT)",
        Effect(_LATENCY, 0.1, 1.0),
        "unsupported operations",
        "run once on the device, compare outputs",
        tool=QUANTIZE,
        needs=(MODEL, DATA, "device_profile: the device"),
    ),
    # host memory, disk, network
    Remedy(
        "stream_data",
        "read in blocks or iterate; never hold the whole set",
        Effect(_HOST, 0.01, 0.5),
        "random access is slower",
        "peak resident memory of the process tree",
        tool=MEASURE,
        needs=("command: the training command",),
        elsewhere={
            "compute_time": Effect(_STEP, 0.2, 1.0, "only the share that waits for data can go"),
            "disk": Effect(_DISK, 0.01, 0.5),
            "network": Effect("time before the first step", 0.01, 0.5, "nothing waits for the whole set"),
        },
    ),
    Remedy(
        "fewer_workers",
        "fewer data-loader or server workers, smaller prefetch",
        Effect(_HOST, 0.2, 0.9, "each worker holds its own copy"),
        "slower loading",
        "peak resident memory of the process tree",
        tool=MEASURE,
        needs=("command: the training command",),
    ),
    Remedy(
        "shm_size",
        "a larger /dev/shm for the container (--shm-size, --ipc=host, an emptyDir of medium Memory)",
        Effect("shared memory", 1.0, 64.0, "room for the batches of all workers"),
        "host memory",
        "df -h /dev/shm inside the container",
        tool="detect_hardware",
    ),
    Remedy(
        "container_limit",
        "a higher memory limit or request for the job (docker -m, resources.limits, sbatch --mem)",
        Effect("memory limit", 1.0, 4.0),
        "a larger machine or longer queue",
        "peak resident memory against the limit",
        tool="detect_hardware",
    ),
    Remedy(
        "memory_map",
        "memory-mapped arrays, safetensors or Arrow instead of copies",
        Effect(_HOST, 0.05, 0.7),
        "page faults on first touch",
        "peak resident memory",
        tool=MEASURE,
        needs=("command: the training command",),
    ),
    Remedy(
        "disk_cleanup",
        "remove caches, old runs and layers that can be made again",
        Effect(_DISK, 0.2, 0.9),
        "they must be fetched again when needed",
        "df -h and du of the largest folders",
        tool="detect_hardware",
    ),
    Remedy(
        "checkpoint_rotation",
        "keep the last few and the best checkpoint; save weights without optimizer state where no resume is needed",
        Effect(_DISK, 0.05, 0.7),
        "older states are gone",
        "size of the run's folder after two rotations",
        elsewhere={
            "compute_time": Effect("work lost at the limit", 0.01, 0.5),
            "budget": Effect("work lost at an interruption", 0.01, 0.5),
        },
    ),
    Remedy(
        "interconnect",
        "check which link and transport the collectives use (NCCL_DEBUG=INFO, topology)",
        Effect(_STEP, 0.2, 1.0),
        "none to look",
        "bus bandwidth of an all-reduce test",
    ),
    Remedy(
        "timeout_settings",
        "find the slow rank first; then a longer timeout for the one slow phase",
        Effect("false timeouts", 0.0, 0.5),
        "real hangs are seen later",
        "per-rank log of the last collective",
    ),
    Remedy(
        "no_sync",
        "no gradient exchange on micro-batches that do not step",
        Effect(_STEP, 0.4, 1.0),
        "only with accumulation",
        _TIME_CHECK,
        **_patch("gradient_accumulation", accumulation_steps=4),
    ),
)
BY_ID = {remedy.id: remedy for remedy in REMEDIES}

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

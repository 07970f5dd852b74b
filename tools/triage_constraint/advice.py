"""The one look that would decide what is open, and where a question belongs that is not ours."""

from .kind import is_served_by_an_engine

_CHECKS: dict[str, str] = {
    "gpu_memory": (
        "nvidia-smi just before the start (is the card free?), then estimate_memory on this step: it "
        "says what the peak is made of and whether it fits"
    ),
    "host_memory": (
        "measure_run on the command with memory_limit_bytes: its peak of the process tree against `free "
        "-h` and the container's or scheduler's limit"
    ),
    "disk": "df -h . and df -i ., then du -sh of the run's folder after two checkpoints",
    "compute_time": (
        "measure_run for 30 steps: the share of the step that waits for data, GPU utilisation, and what "
        "synchronises"
    ),
    "inference_latency": (
        "measure_run on one request: first call against the median, and time before, in and after the model"
    ),
    "training_data": "compare_baselines on the series as they are: does a simple model already do as well?",
    "budget": "the bill by resource and hour: which machines ran, and how many hours they were busy",
    "no_gpu": "detect_hardware with the training interpreter: is there a device, a driver, and a build that uses it?",
    "edge": "the device's memory map or tegrastats while the model loads, and its latency after 50 warm calls",
    "network": (
        "NCCL_DEBUG=INFO for one run: which rank is last, over which transport; then an all-reduce "
        "bandwidth test"
    ),
}

_PROVIDER_CHECK = (
    "ONNX Runtime does not say which device was full: session.get_providers() tells; with"
    " CUDAExecutionProvider it is the card, with CPUExecutionProvider host memory"
)

UNCLEAR = (
    "nothing here says what runs short: name what fills up, takes too long, costs too much or is too little, with its"
    " number, or send the error or the log"
)

_HANDOFFS: dict[str, str] = {
    "architecture_selection": "the skill designing-ts-architectures (choice of architecture)",
    "instance_selection": (
        "the skill operating-sagemaker (choice of SageMaker instances); estimate_cost prices plain machines"
    ),
    "hardware_selection": (
        "detect_hardware and estimate_memory say whether a named card fits; the purchase itself is not ours"
    ),
    "service_limit": "the cloud provider's quota page or support",
    "feature_request": "the project's own issue tracker",
    "how_to": "the documentation of the library or service that is asked about",
    "non_ml": "the maintainers of that program: no machine-learning job is short of a resource here",
    "bug_other": "a debugger: this is an error in the program, not a shortage",
}
_BUG_HANDOFFS: dict[str, str] = {
    "device_side_assert": "CUDA_LAUNCH_BLOCKING=1 or one step on the CPU names the index that is out of range",
    "illegal_memory_access": "compute-sanitizer or CUDA_LAUNCH_BLOCKING=1 names the kernel",
    "driver_mismatch": (
        "a newer driver, or a build for the CUDA version that the driver supports (detect_hardware shows "
        "both)"
    ),
    "wrong_torch_build": "the install selector of the framework: a build for this GPU's compute capability",
    "device_visibility": "CUDA_VISIBLE_DEVICES and the device index in the program",
    "nan_loss": "lower learning rate, gradient clipping, torch.autograd.detect_anomaly; with fp16 a GradScaler",
    "shape_mismatch": "print the shapes at the named line; for a checkpoint the model that saved it",
    "build_error": "the compiler's first error above the last line",
    "import_error": "the environment: the module's name and version",
    "teardown_noise": "nothing: the work was finished before this message",
}
_SERVING = "for a single large language model that fits once: a serving engine such as vLLM or llama.cpp"


def decisive_check(constraint: str, sub_cause: str | None, lowered: str) -> str | None:
    """What to look at next when the evidence does not decide; None when it does."""
    if sub_cause is None and "requested buffer of size" in lowered:
        return _PROVIDER_CHECK
    return None if sub_cause else _CHECKS.get(constraint)


def handoff(constraint: str, sub_cause: str | None, lowered: str) -> str | None:
    """Where the question belongs when it is out of scope, or the engine that does it better; None when it is ours."""
    if constraint == "out_of_scope":
        return _HANDOFFS.get(sub_cause or "how_to", _HANDOFFS["how_to"])
    if constraint == "not_a_resource_problem":
        return _BUG_HANDOFFS.get(sub_cause or "", _HANDOFFS["bug_other"])
    serving = any(word in lowered for word in ("llama", "tokens/s", "tokens per second", "llm "))
    return (
        _SERVING
        if serving
        and not is_served_by_an_engine(lowered)
        and constraint in ("inference_latency", "gpu_memory")
        and "train" not in lowered
        else None
    )

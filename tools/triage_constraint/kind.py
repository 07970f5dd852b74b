"""What kind of job a text is about, and the remedies that mean nothing for a job of that kind."""

import re
from collections.abc import Container

from .._remedies import INFERENCE_MEMORY

_INFERS = re.compile(r"\binferenc\w*|\bmodel\.generate|\bserving\b|\bno_grad\b")
_GOES_BACKWARD = re.compile(r"\bbackward\b|\boptimi[sz]er\b|\bloss\b")
_BATCH_SIZE = re.compile(r"\bbatch[ _-]?size ?(?:=|:|is|of|to)? ?(\d+)")
_TREES = re.compile(
    r"\b(?:lightgbm|lgbm\w*|xgb\w*|catboost|scikit-?learn|sklearn|random forests?|gradient boost\w*)\b"
)
_NETWORKS = re.compile(
    r"torch|keras|tensorflow|\bjax\b|\bgpus?\b|cuda|\bneural|\blstm|\btransformers?\b|\bepoch"
)
_ENGINES = re.compile(r"vllm|llama\.cpp|llama_|ggml|gguf|ollama|sglang|text-generation-inference")
_APPLE = re.compile(
    r"\bmps\b|\bapple silicon\b|\bmacbook\b|\bm[1-5] (?:pro|max|ultra)\b|\b(?:my|our|the|a|this) mac\b"
)
_SERIES = re.compile(r"\bforecast|\btime[- ]series|\bseries\b|\bdemand\b|\bsales\b|预测|時系列|прогноз")
_NO_SERIES = re.compile(
    r"\b(?:images?|photos?|pictures?|sentences?|documents?|tweets?|utterances?|audio|videos?|x-?rays?|mri|ct scans?"
    r"|segmentation|object detection|bilder|im[aá]genes|resnet\w*|yolo\w*|vit|unet|diffusion|gans?|llms?|llama\w*"
    r"|bert|roberta|gpt\w*|whisper|accuracy|classif\w*)\b|图片|圖片|准确率|分类"
)

_ONLY_TRAINING = frozenset((
    "gradient_accumulation", "gradient_checkpointing", "fused_optimizer", "eight_bit_optimizer", "paged_optimizer",
    "optimizer_in_backward", "freezing", "lora", "zero_grad_none",
))  # fmt: skip
_ONLY_CUDA = frozenset(("eight_bit_optimizer", "paged_optimizer", "sharding"))  # bitsandbytes, NCCL
_ONLY_NETWORKS = frozenset((
    "dataloader", "mixed_precision", "compile", "channels_last", "larger_batch", "lr_schedule",
    "quantization", "distillation", "pruning",
))  # fmt: skip
_ONLY_SERIES = frozenset(("lightgbm_baseline", "dlinear", "nhits"))
_BEFORE_ALL = ("free_other_process", "allocator_settings", "release_graph", "kv_cache_limit")


def is_about_series(lowered: str) -> bool:
    """Whether time series are named."""
    return _SERIES.search(lowered) is not None


def is_about_other_data(lowered: str) -> bool:
    """Whether pictures, texts or sounds are named and no time series: no tool for series will do."""
    return _NO_SERIES.search(lowered) is not None and not is_about_series(lowered)


def infers(lowered: str, named: Container[str]) -> bool:
    """Whether the job only answers: inference is named, and neither training nor what only training does."""
    return bool(_INFERS.search(lowered)) and "train" not in named and not _GOES_BACKWARD.search(lowered)


def is_served_by_an_engine(lowered: str) -> bool:
    """Whether a serving engine for language models holds the model: no file and no step of it is at hand."""
    return _ENGINES.search(lowered) is not None and "train" not in lowered


def batch_is_one(lowered: str) -> bool:
    """Whether the only batch size that is named is one: nothing is left to split or to make smaller."""
    return set(_BATCH_SIZE.findall(lowered)) == {"1"}


def is_about_a_mac(lowered: str) -> bool:
    """Whether a Mac with a GPU of Apple's is named."""
    return _APPLE.search(lowered) is not None


def grows_trees(lowered: str) -> bool:
    """Whether the job is one of boosted trees or scikit-learn, which no patch for torch reaches."""
    return _TREES.search(lowered) is not None and not _NETWORKS.search(lowered)


def for_inference(ids: list[str]) -> list[str]:
    """Remedies of GPU memory for a job that only answers: without gradients, optimizer and steps."""
    first = [name for name in ids if name in _BEFORE_ALL]
    return [*first, *INFERENCE_MEMORY, *(name for name in ids if name not in _ONLY_TRAINING)]


def meaningless(lowered: str, constraint: str) -> frozenset[str]:
    """The remedies that this job cannot use: for another framework, device or kind of data, or a batch that is one."""
    found: frozenset[str] = frozenset()
    if constraint == "no_gpu" and is_about_other_data(lowered):
        found |= _ONLY_SERIES
    if batch_is_one(lowered):
        found |= {"gradient_accumulation"}
    if is_about_a_mac(lowered):
        found |= _ONLY_CUDA
    return found | _ONLY_NETWORKS if grows_trees(lowered) else found

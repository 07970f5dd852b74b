"""The sub-cause: from the numbers of an allocator's message first, then from what the text names. Never a guess."""

import re

from .clues import FINAL, Clue
from .numbers import Numbers

# Shares of the memory limit that tell causes apart, from the briefed analysis of messages whose cause is known; the
# CUDA context and kernels explain up to about 0.16 of a card, desktop use up to 0.28.
_FRAGMENTED_SHARE = 0.25
_HUGE_SHARE = 0.30
_FOREIGN_SHARE = 0.35


def gpu_cause(numbers: Numbers, lowered: str) -> str | None:
    """Which cause the figures and words of a GPU memory failure establish; None where they do not decide."""
    return _from_figures(numbers, lowered) or _named(_GPU_WORDS, lowered)


def sub_cause(constraint: str, clues: list[Clue], numbers: Numbers, lowered: str) -> str | None:
    """The sub-cause of `constraint` that the evidence establishes, or None."""
    told = _told(clues)
    if constraint == "gpu_memory":
        return told or gpu_cause(numbers, lowered)
    return _named(_WORDS.get(constraint, ()), lowered) or told or _DEFAULTS.get(constraint)


def _told(clues: list[Clue]) -> str | None:
    named = [c for c in clues if c.sub_cause]
    if not named:
        return None
    raised = [c for c in clues if c.points >= FINAL]
    best = max(named, key=lambda c: c.points)
    # a raised error without a sub-cause is not explained by a word elsewhere in the prose
    return best.sub_cause if best in raised or not raised or best.constraint != "gpu_memory" else None


def _size(numbers: Numbers, key: str) -> float | None:
    value = numbers.get(key)
    return None if value is None or isinstance(value, list) else float(value)


def _from_figures(numbers: Numbers, lowered: str) -> str | None:
    total, tried = _size(numbers, "total_gib"), _size(numbers, "tried_gib")
    if "mps_max_gib" in numbers:
        return "true_capacity"
    if total is None:
        return "single_huge_tensor" if tried is not None and tried >= 48 else None
    allocated = _size(numbers, "allocated_gib") or 0.0
    free = _size(numbers, "free_gib")
    unallocated = _size(numbers, "reserved_unalloc_gib")
    if unallocated is None and (reserved := _size(numbers, "reserved_gib")) is not None:
        unallocated = max(0.0, reserved - allocated)
    idle = unallocated or 0.0
    allowed = _size(numbers, "allowed_gib")
    limit = min(total, allowed) if allowed is not None else total
    if re.search(r"\bmig\b|\b[1-7]g\.\d+gb", lowered):
        return "mig_slice"
    if tried is not None and idle >= tried and idle >= _FRAGMENTED_SHARE * limit:
        return "fragmentation"
    if allowed is not None and allowed < total and free and (tried is None or free >= tried):
        return "fraction_limit"
    foreign = total - allocated - idle - free if free is not None and "allocated_gib" in numbers else 0.0
    if tried is not None and tried >= _HUGE_SHARE * total:
        return _named((_INPUT,), lowered) or "single_huge_tensor"
    if foreign >= _FOREIGN_SHARE * total:
        return "device_map_imbalance" if re.search(r"resum|default_restore_location|map_location|all ranks", lowered) else "other_process"
    others = _size(numbers, "other_process_gib")
    if others is not None and tried is not None and free is not None and others >= _HUGE_SHARE * total:
        return "other_process"
    return None


_Words = tuple[tuple[str, str], ...]
_INPUT = (
    "input_too_large",
    r"(?:image|input|crop|frame|video|picture)s?[- ]?(?:size|resolution|dimension)?s? (?:i (?:entered|use) )?(?:is|was|are|of|with|=|:)?[^\n.]{0,30}\d{3,5} ?[x×*] ?\d{3,5}|resolution"
    r"|(?:\d+k|large|long|big|huge) (?:atoms|sequence|context|images?|inputs?|videos?|documents?)|(?:sequence|context|input) length|\[?length \d{4,}|max(?:imum)?[_ ](?:seq|length)|\d+k atoms|atoms|larger image|high[- ]res|分辨率|图片(?:太|过|较)大",
)
_GPU_WORDS: _Words = (
    ("mig_slice", r"\bmig\b|\b[1-7]g\.\d+gb"),
    ("kv_cache", r"kv[ _-]?cache"),
    ("leak", r"memory leak|leak(?:s|ing)?\b|(?:memory|usage|vram)[^\n.]{0,40}(?:keeps?|kept|continu\w+|gradually|slowly|steadily)[^\n.]{0,20}(?:increas|grow|ris)|(?:increas|grow)\w*[^\n.]{0,30}(?:every|each|per|after) (?:epoch|iteration|step|batch)|after (?:\d+|a few|several|some|many) (?:epochs|iterations|steps|hours|batches)|泄[漏露]|显存(?:不断|一直|越来越|逐渐|持续)"),
    ("eval_no_grad", r"(?:during|in|at|when|while|on|for) (?:the )?(?:batch )?(?:eval\w*|validat\w*|testing|test set|inference)\b[^\n]{0,60}|(?:evaluation|validation) (?:step|loop|phase|stage|epoch)|验证(?:时|的时候|阶段|集)"),
    ("other_process", r"other (?:process|program|user|application)|another (?:process|program|user|job)|shared (?:gpu|with)|someone else|not ours|multiple (?:process|worker)|parallel\w* [^\n]{0,30}(?:worker|process)|并行启动|多个进程|其他进程|zombie process"),
    ("device_map_imbalance", r"(?:only|just) (?:the )?(?:first|one|gpu ?:?0)[^\n.]{0,40}(?:full|memory|used)|gpu ?:?0[^\n.]{0,40}(?:more|full|most)|device_map|unbalanced|imbalance|resume on multiple|all ranks"),
    ("model_weights_too_large", r"even (?:with|if|when|at)[^\n.]{0,20}batch[_ -]?size[^\n.]{0,12}\b1\b|(?:load|loading|deploy|host|load(?:ed)? (?:this|the))[^\n.]{0,40}(?:model|weights|checkpoint|\b\d+b\b)|\b(?:1[3-9]|[2-9]\d|1\d\d|[2-6]\d\d)b\b|from_pretrained|\.to\(['\"]?cuda|model\.cuda"),
    ("cuda_context_init", r"cudnn[^\n]{0,30}handle|init\w* cuda|cuda context|_lazy_init|cublascreate"),
    _INPUT,
    ("batch_too_large", r"(?:reduc|lower|decreas|small|larg|big|increas|high)\w*[^\n.]{0,24}batch|batch[_ -]?size ?(?:=|:|is|of|to)? ?\d+|batch[_ -]?size[^\n.]{0,20}(?:large|reduc|lower|small|decreas)|bs\d+|调(?:小|低)[^\n]{0,8}batch|batch[^\n]{0,10}(?:太大|调小)"),
    ("true_capacity", r"(?:only|have|with|my|has|using)[^\n.]{0,30}\b[1-9]\d? ?g(?:i?b)?\b[^\n.]{0,24}(?:gpu|vram|card|memory)|(?:more|larger|bigger) (?:vram|gpu memory)|gpu with more|get a (?:new )?gpu|enough (?:vram|gpu memory)|how much (?:gpu|vram|video|memory)|\bgtx ?\d+|minimum (?:gpu|vram)"),
)
_WORDS: dict[str, _Words] = {
    "host_memory": (
        ("shm_limit", r"/dev/shm|shared memory|shm[- _]size|--ipc"),
        ("slurm_limit", r"slurm|srun|sbatch"),
        ("jvm_heap", r"gc overhead|java heap|outofmemoryerror: java"),
        ("serialization_peak", r"pickle\.dumps?|(?:model|torch)\.save|save_weights|savez|to_pickle|saving (?:the )?(?:model|checkpoint)|onsave"),
        ("dataloader_workers", r"num_workers|dataloader worker|multiprocess\w*|tensorpack|fork"),
        ("worker_count", r"worker with pid|gunicorn|workers? (?:was|were) terminated|fails to allocate memory to work"),
        ("leak", r"memory leak|leak(?:s|ing)?\b|(?:memory|ram|usage)[^\n.]{0,40}(?:keeps?|grew|kept|continu\w+|gradually|slowly|steadily)[^\n.]{0,20}(?:increas|grow|ris)?|grows? (?:over time|every|each|until)|泄[漏露]|内存(?:不断|一直|越来越|逐渐|持续)"),
        ("container_limit", r"docker|container|kubectl|kubernetes|\bpod\b|exit(?:ed)? (?:with )?(?:code )?137|oomkilled|negsignal|airflow|endpoint"),
        ("single_huge_array", r"unable to allocate|you tried to allocate|np\.(?:array|zeros|ones|empty|concatenate|stack|vstack)\(|requested buffer|adjacency|matrix"),
        ("dataset_in_ram", r"(?:load|read)\w* (?:the )?(?:whole |entire |full |all )?(?:the )?(?:dataset|data|csv|file|images)|read_csv|dataset[^\n.]{0,20}(?:into|in) (?:memory|ram)"),
        ("ram_capacity", r"\bram\b|killed|gb of (?:ram|memory)|cpu|vectors?\b|内存"),
    ),
    "compute_time": (
        ("walltime_limit", r"due to time limit|walltime|time limit"),
        ("slowdown_over_time", r"(?:get|become|became|becom|got|run)\w* (?:slower|slow) (?:and slower|over time|after|as)|slower and slower|slow(?:s|ed)? down|gradually slow|越来越慢|after (?:a few|some|several|\d+) (?:epochs|iterations|steps|hours)[^\n.]{0,30}slow"),
        ("gpu_not_used", r"gpu (?:is )?(?:not (?:being )?us|isn'?t us)|not us\w+ (?:the |my |any )?gpu|no change in gpu|(?:gpu|it)[^\n.]{0,20}(?:not used|unused)|running? on (?:the )?cpu instead|instead of (?:the )?gpu|0 ?% (?:gpu|util)"),
        ("data_loader_bound", r"data ?load\w*|loading data|num_workers|生成数据|数据(?:加载|读取)|i/o|almost all time is spent on cpu|spikes|input pipeline|prefetch|mask的时候"),
        ("regression", r"(?:new|latest|upgrad\w+|updat\w+|after (?:updat|upgrad)\w+|version \d)[^\n.]{0,40}slow|slower (?:than|in|with|after|on) (?:the )?(?:old|previous|last|v?\d|version|upgrad|updat)|used to (?:be|take|reach)"),
        ("gpu_underused", r"gpu[- ]?(?:util\w*|usage|load)|usage of (?:the )?gpu|利用率|使用率"),
        ("schedule_too_long", r"(?:max_?)?iter(?:ation)?s?\b[^\n.]{0,30}(?:too (?:big|many|long)|2e6|default)|too many (?:epochs|iterations)|how many (?:epochs|iterations)|number of epochs"),
        ("dataset_too_large", r"(?:large|huge|big|million|\dm\b)[^\n.]{0,20}(?:dataset|samples|images|data)|dataset is (?:too )?(?:large|big|huge)"),
        ("model_too_big", r"(?:model|network) is (?:too )?(?:big|large|huge|heavy|complex)|単一 gpu|single gpu"),
        ("slow_kernel", r"kernel|operator|deterministic|depthwise|conv\w*3d|grid_sample"),
        ("algorithmic", r"extract|multiple process|chunking|preprocess\w*|loop|o\(n|复杂度|single thread"),
        ("true_capacity", r"how long|hours|days|my (?:gpu|computer|pc|laptop)"),
    ),
    "inference_latency": (
        ("timeout", r"timed out|time-?out"),
        ("warmup", r"first (?:inference|call|run|prediction|request|image|frame|time|query)|warm-?up|cold[- ]?start|datetime\.now\(\)\s*\n?[^\n]*predict|第一次|首次"),
        ("no_batching", r"batch(?:ed|ing)? (?:process|infer|predict|mode|api|interface|request|support)\w*|batch ?接口|in batch|one by one|single image at|multiple (?:images|inputs|sentences)|批量|批处理"),
        ("postprocessing_bound", r"post-?process\w*|\bnms\b|decod(?:e|ing) (?:the )?(?:output|result|boxes)"),
        ("backend_misconfig", r"mkl|openvino|onednn|tensorrt|onnx|execution provider|num_threads|omp_num|xla|backend"),
        ("preprocessing_bound", r"cpu (?:usage|is|at|load)[^\n.]{0,24}100 ?%|100 ?% cpu|preprocess\w*|resiz|decod|video (?:read|captur)"),
        ("gpu_not_used", r"gpu (?:is )?(?:not (?:being )?us|isn'?t us)|not us\w+ (?:the |my |any )?gpu|use (?:the )?gpu to run|не использ\w+ видеокарт|instead of (?:the )?gpu|0 ?%|use the cpu, it seems (?:very )?fast"),
        ("cpu_inference", r"\bcpu\b|\bmac\w*|\bi[3579]\b|m1\b|no gpu|without gpu|没有用gpu"),
        ("throughput", r"throughput|convert|video|upscal|hours?\b|per second|tokens/s|bulk|millions? of|large number"),
        ("model_too_slow", r"model|network|fps|inference"),
    ),
    "budget": (
        ("spot", r"\bspot\b|preemptible"),
        ("idle_resources", r"still (?:running|being|get)|not using|don'?t use|turn(?:ed)? off|shut ?down|terminat|delet|can'?t find|idle|without (?:any )?us|unexpected|crashed state|fee per user|never used|forgot"),
        ("inference_cost", r"inference|endpoint|serv(?:e|ing)|deploy|predict|requests"),
        ("training_cost", r"train\w*|node hours?|fine-?tun"),
        ("pricing_question", r"pric|cost|charg"),
    ),
    "training_data": (
        ("overfitting", r"over-?fit\w*|过拟合|過学習|과적합|переобуч\w*|sobreajust\w*|surapprentissage|überanpass\w*"),
        ("few_samples", r"."),
    ),
    "no_gpu": (
        ("apple_silicon", r"\bm[1-4]\b|apple silicon|mps\b|macmini|mac mini"),
        ("checkpoint_map_location", r"deserialize object|map_location"),
        ("no_device", r"mac ?os|macbook|\bmac\b|no (?:nvidia|gpu|cuda)|no cuda-capable|without (?:a )?gpu|don'?t have (?:a )?gpu|cpu[- ]only|only (?:have )?(?:a )?cpu|amd|intel (?:gpu|graphics|hd)|on (?:a |my |the )?cpu|用cpu|使用cpu|没有gpu"),
        ("cpu_only_build", r"not (?:been )?(?:compiled|built) with|compiled without|cpu-only build|\+cpu"),
        ("driver_or_visibility", r"driver|is_available|visible|nvidia-smi|cuinit|not detect|does not see"),
        ("gpu_not_used", r"gpu (?:is )?not us|not us\w+ (?:the )?gpu"),
        ("cpu_inference", r"inference|predict|demo|推理|预测"),
        ("no_device", r"gpu|cpu|显卡"),
    ),
    "edge": (
        ("size_limit", r"will not fit|overflowed|(?:model|file|apk|app|binary|flash)[- ]?(?:is |size)[^\n.]{0,20}(?:too (?:big|large)|mb|limit|reduce)|flash\b"),
        ("conversion", r"conver(?:t|sion)[^\n.]{0,40}(?:fail|error|not support|unsupported)|unsupported op|didn'?t find op|not supported"),
        ("power", r"power (?:consumption|draw|budget|mode)|battery|watt|overheat|thermal|throttl"),
        ("device_memory", r"out of memory|oom\b|memory|ram\b|arena|resize buffer"),
        ("device_latency", r"slow|fps|latency|speed|faster|takes|real[- ]?time|慢"),
        ("hardware_limit", r"."),
    ),
    "network": (
        ("nccl_timeout", r"watchdog|collective operation timeout|timeout\(ms\)"),
        ("nccl_system_error", r"unhandled (?:system|cuda) error|ncclsystemerror|ncclunhandledcudaerror|nccl error"),
        ("nccl_hang", r"hang|stuck|卡住|卡死|deadlock|freez"),
        ("rpc_timeout", r"deadline|rendezvous|tcpstore|rpc|grpc|gloo"),
        ("download_bandwidth", r"download|bandwidth|下载|upload|s3\b"),
        ("multi_gpu_scaling", r"."),
    ),
    "disk": (
        ("vm_disk", r"(?:boot|root|vm|ebs|instance) (?:disk|volume|partition)[^\n.]{0,40}|notebook instance[^\n.]{0,40}(?:disk|volume|space)|pagefile|virtual disk"),
        ("checkpoints", r"checkpoint\w*|pytorchstreamwriter|save (?:the )?(?:model|state|weights)|saving (?:model|weights)|\.ckpt|检查点|inline_container|within 1 epoch"),
        ("docker_build", r"docker (?:build|image|pull)|dockerfile|overlay2|containerd"),
        ("cache_tmp", r"cache\w*|/tmp|tmp\b|temp(?:orary)? (?:file|dir|folder)\w*|\.cache|pip install|wandb|pymp"),
        ("artifacts", r"artifact\w*|mlruns|logs?\b|tensorboard|runs/"),
        ("dataset_download", r"download\w*|hf_hub|snapshot_download"),
        ("intermediate_files", r"intermediate|work_\w+|preprocess\w*\.py in|temporary files|scan_alignments|shuffle"),
        ("dataset_size", r"data ?set\w*|corpus|\.pt\b|parquet|images"),
        ("checkpoints", r"train\w*"),
    ),
}
_DEFAULTS = {"not_a_resource_problem": "bug_other", "out_of_scope": "how_to"}


def _named(words: _Words, lowered: str) -> str | None:
    for cause, pattern in words:
        if re.search(pattern, lowered, re.ASCII):
            return cause
    return None

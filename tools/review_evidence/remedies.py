"""Which remedies belong to which constraint, and which of them change results.

The plan of triage_constraint has the full table; a test keeps this excerpt in step with it.
"""

CONSTRAINTS = (
    "gpu_memory", "host_memory", "disk", "compute_time", "inference_latency", "training_data", "budget", "no_gpu",
    "edge", "network",
)  # fmt: skip

_MEMORY = """mixed_precision gradient_accumulation gradient_checkpointing model_reduction pruning eight_bit_optimizer
paged_optimizer fused_optimizer optimizer_in_backward pure_bf16 freezing lora cpu_offload allocator_settings
zero_grad_none channels_last kv_cache_limit free_other_process release_graph inference_mode sharding quantization"""
_FAST = "quantization distillation pruning simpler_architecture batching runtime warm_up cpu_threads"

REMEDIES = {
    "gpu_memory": _MEMORY,
    "host_memory": f"stream_data fewer_workers shm_size container_limit memory_map checkpoint_rotation {_MEMORY}",
    "disk": "disk_cleanup checkpoint_rotation stream_data",
    "compute_time": """smaller_model lr_schedule early_stopping dataloader mixed_precision compile larger_batch
        fewer_experiments channels_last stream_data cpu_threads release_graph sharding checkpoint_rotation""",
    "inference_latency": _FAST,
    "training_data": """foundation_model transfer_learning augmentation simpler_model few_shot early_stopping""",
    "budget": """spot right_size batch_inference serverless scale_to_zero quantization fewer_experiments
        mixed_precision early_stopping checkpoint_rotation""",
    "no_gpu": "lightgbm_baseline dlinear nhits quantization cpu_threads simpler_model",
    "edge": "size_budget int8 pruning export_format distillation simpler_architecture",
    "network": "interconnect timeout_settings no_sync larger_batch dataloader stream_data disk_cleanup",
}
FOR = {constraint: frozenset(names.split()) for constraint, names in REMEDIES.items()}
KNOWN = frozenset().union(*FOR.values())

_CHANGING = """mixed_precision model_reduction pruning eight_bit_optimizer pure_bf16 freezing lora smaller_model
lr_schedule early_stopping larger_batch quantization distillation simpler_architecture foundation_model
transfer_learning augmentation simpler_model few_shot lightgbm_baseline dlinear nhits int8"""
CHANGES_RESULTS = frozenset(_CHANGING.split())

"""Jobs of TensorFlow, Keras and JAX: the instruction in place of tools that know PyTorch's steps and scripts only."""

import re

from .._remedies import BY_ID, MEASURE, PATCH, PREDICT
from .by_hand import Hand

_TORCH = re.compile(r"\btorch\b|\bpytorch\b|\blightning\b")
_WORDS = {
    "JAX": re.compile(r"\bjax(?:lib)?\b|\bxla_extension\b|\bflax\b|\boptax\b|\bxlaruntimeerror\b"),
    "TensorFlow": re.compile(r"\btensorflow\b|\bkeras\b|\bbfc_allocator\b|\bresourceexhaustederror\b"),
}
_ONLY_TORCH = frozenset((
    "channels_last", "eight_bit_optimizer", "paged_optimizer", "optimizer_in_backward", "fused_optimizer",
    "zero_grad_none", "inference_mode",
))  # fmt: skip

EXPORTED = {
    "TensorFlow": "model: an ONNX file (model.export(path, format='onnx') of Keras 3, or tf2onnx)",
    "JAX": "model: an ONNX file (jax2tf, then tf2onnx)",
}
_BY_HAND = {
    "TensorFlow": {
        "mixed_precision": "keras.mixed_precision.set_global_policy('mixed_bfloat16' on Ampere and later, else"
        " 'mixed_float16') before the model is built, and dtype='float32' for its last layer",
        "gradient_accumulation": "the batch divided by N, and gradient_accumulation_steps=N of the Keras 3 optimizer",
        "gradient_checkpointing": "build and train the model within keras.RematScope(mode='full'), or keras.remat and"
        " tf.recompute_grad around a block",
        "allocator_settings": "TF_GPU_ALLOCATOR=cuda_malloc_async against fragmentation;"
        " TF_FORCE_GPU_ALLOW_GROWTH=true where several processes share the card",
        "pure_bf16": "keras.mixed_precision.set_global_policy('bfloat16')",
        "freezing": "layer.trainable = False for what need not learn, before compile()",
        "lora": "layer.enable_lora(rank) of Keras 3 on Dense, EinsumDense and Embedding layers",
        "dataloader": "tf.data: .map(..., num_parallel_calls=tf.data.AUTOTUNE), .cache() where it fits,"
        " .prefetch(tf.data.AUTOTUNE) last",
        "compile": "model.compile(..., jit_compile=True), or tf.function(jit_compile=True)",
        "early_stopping": "keras.callbacks.EarlyStopping(restore_best_weights=True) on a validation metric",
        "lr_schedule": "keras.optimizers.schedules.CosineDecay with warmup_steps as the learning rate",
        "larger_batch": "a larger batch where the GPU is not busy, tried on the card",
    },
    "JAX": {
        "mixed_precision": "compute in bfloat16 and keep parameters in float32: dtype=jnp.bfloat16 of the modules in"
        " Flax, param_dtype as it is",
        "gradient_accumulation": "optax.MultiSteps(optimizer, N) with the batch divided by N, or lax.scan over"
        " micro-batches inside the jitted step",
        "gradient_checkpointing": "jax.checkpoint (nn.remat in Flax) around each block, with a policy such as"
        " jax.checkpoint_policies.dots_with_no_batch_dims_saveable",
        "allocator_settings": "jax.jit(step, donate_argnums=0), so that the new state takes the old one's memory;"
        " XLA_PYTHON_CLIENT_MEM_FRACTION=.95 where nothing else needs the card",
        "pure_bf16": "parameters in bfloat16 as well (param_dtype)",
        "freezing": "optax.multi_transform with set_to_zero() for what need not learn",
        "dataloader": "read and decode in workers (grain, tf.data) and put the next batch on the device while this one"
        " computes",
        "compile": "the whole step inside jax.jit, with shapes that do not change: each new shape compiles anew",
        "early_stopping": "stop when the validation metric no longer improves, and keep the best parameters",
        "lr_schedule": "optax.warmup_cosine_decay_schedule",
        "larger_batch": "a larger batch where the device is not busy, tried on the card",
    },
}
_CHECKS = {
    "TensorFlow": "nvidia-smi just before the start (is the card free?), then"
    " tf.config.experimental.get_memory_info('GPU:0') after one step",
    "JAX": "nvidia-smi just before the start (is the card free?), then jax.jit(step).lower(...).compile()"
    ".memory_analysis(): parameters, outputs and temporaries apart",
}


def framework(lowered: str) -> str | None:
    """The framework that a text or a script names, where it is not PyTorch; None where it is, or none is named."""
    if _TORCH.search(lowered):
        return None
    return next((name for name, words in _WORDS.items() if words.search(lowered)), None)


def useless(name: str | None) -> frozenset[str]:
    """The remedies that this framework has no equivalent for."""
    return _ONLY_TORCH if name else frozenset()


def hand_of(remedy: str, name: str) -> Hand | None:
    """The framework's own way to a remedy; None where the remedy's tool does not look at steps or scripts."""
    row = BY_ID[remedy]
    if told := _BY_HAND[name].get(remedy):
        return Hand(told)
    return Hand(row.what) if row.tool in (PATCH, PREDICT) else None


def check(constraint: str, name: str) -> str | None:
    """The decisive look at GPU memory, by the framework's own means."""
    return _CHECKS[name] if constraint == "gpu_memory" else None


def note(name: str, constraint: str) -> str | None:
    """What a reader of the plan must know of the tools."""
    if constraint not in ("gpu_memory", "compute_time", "network", "host_memory"):
        return None
    return (
        f"This is a job of {name}: {PATCH}, {PREDICT} and the counting of steps know PyTorch only, so the plan says"
        f" what to write; {MEASURE} gives its time, memory and metrics as a process."
    )

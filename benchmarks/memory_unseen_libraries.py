"""make_step functions for Hugging Face and torchvision models, no weights read: material of memory_unseen.py."""

import importlib
from typing import Any

import torch
import torch.nn.functional as F
from memory_unseen_steps import Made, classify, made


def transformers_model(config: str, model: str, inputs: Any, **sizes: Any) -> Made:
    library = importlib.import_module("transformers")
    found = getattr(library, model)(getattr(library, config)(**sizes))
    return made(found.train(), inputs, lambda m, b: m(**b).loss, torch.optim.AdamW)


def _ids(rows: int, length: int) -> Made:
    ids = torch.randint(1, 4000, (rows, length))
    return {"input_ids": ids, "labels": ids}


def transformers_gpt2() -> Made:
    sizes = {"n_layer": 4, "n_embd": 256, "n_head": 4, "vocab_size": 4000}
    return transformers_model("GPT2Config", "GPT2LMHeadModel", _ids(2, 128), **sizes)


def transformers_t5() -> Made:
    sizes = {"d_model": 256, "d_kv": 64, "d_ff": 1024, "num_layers": 3, "num_heads": 4, "vocab_size": 4000}
    return transformers_model(
        "T5Config",
        "T5ForConditionalGeneration",
        _ids(4, 64),
        decoder_start_token_id=0,
        pad_token_id=0,
        **sizes,
    )


SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 4000,
}


def transformers_mixtral() -> Made:
    sizes = {**SMALL, "num_key_value_heads": 2, "num_local_experts": 4}
    return transformers_model("MixtralConfig", "MixtralForCausalLM", _ids(2, 32), **sizes)


def transformers_mamba() -> Made:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 4000}
    return transformers_model("MambaConfig", "MambaForCausalLM", _ids(2, 32), **sizes)


def transformers_whisper() -> Made:
    """A decoder whose embedding is its head too: two gradients of one weight."""
    ends = ("encoder", "decoder")
    sizes = {
        f"{end}_{name}": size
        for end in ends
        for name, size in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 128))
    }
    tokens = {
        "pad_token_id": 0,
        "decoder_start_token_id": 1,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "vocab_size": 1000,
    }
    inputs = {"input_features": torch.randn(2, 80, 200), "labels": torch.randint(1, 500, (2, 12))}
    name = "WhisperForConditionalGeneration"
    return transformers_model(
        "WhisperConfig", name, inputs, d_model=64, max_source_positions=100, **sizes, **tokens
    )


def transformers_patchtst() -> Made:
    """Batch norm over transposed input."""
    inputs = {"past_values": torch.randn(8, 64, 3), "future_values": torch.randn(8, 16, 3)}
    sizes = {
        "context_length": 64,
        "prediction_length": 16,
        "num_input_channels": 3,
        "d_model": 32,
        "num_hidden_layers": 2,
    }
    return transformers_model("PatchTSTConfig", "PatchTSTForPrediction", inputs, **sizes)


def torchvision_model(path: str, batch: Any, loss: Any = classify, **options: Any) -> Made:
    module, _, name = path.rpartition(".")
    model = getattr(importlib.import_module(f"torchvision.models{module}"), name)(num_classes=10, **options)
    return made(model, batch, loss, torch.optim.SGD, momentum=0.9)


def _images(rows: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, 3, side, side), torch.randint(0, 10, (rows,))


def torchvision_resnet18() -> Made:
    return torchvision_model(".resnet18", _images(4, 64))


def torchvision_convnext() -> Made:
    return torchvision_model(".convnext_tiny", _images(4, 64))


def torchvision_swin() -> Made:
    return torchvision_model(".swin_t", _images(2, 112))


def torchvision_r3d() -> Made:
    return torchvision_model(".video.r3d_18", (torch.randn(1, 3, 8, 56, 56), torch.randint(0, 10, (1,))))


def torchvision_deeplab() -> Made:
    return torchvision_model(
        ".segmentation.deeplabv3_mobilenet_v3_large",
        (torch.randn(2, 3, 96, 96), torch.randint(0, 10, (2, 96, 96))),
        lambda m, b: F.cross_entropy(m(b[0])["out"], b[1]),
        weights=None,
        weights_backbone=None,
    )


NAMES = ["transformers_gpt2", "transformers_t5", "transformers_mixtral", "transformers_mamba", "transformers_whisper",
         "transformers_patchtst", "torchvision_resnet18", "torchvision_convnext", "torchvision_swin",
         "torchvision_r3d", "torchvision_deeplab"]  # fmt: skip

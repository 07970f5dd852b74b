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


NAMES = ["transformers_gpt2", "transformers_t5", "torchvision_resnet18", "torchvision_convnext", "torchvision_swin",
         "torchvision_r3d", "torchvision_deeplab"]  # fmt: skip

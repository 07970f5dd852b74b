"""make_step for a Hugging Face config.json or model folder; runs in the caller's environment, loads no weights."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # what the folder says is all there is

import torch
import transformers

_OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": lambda weights: torch.optim.SGD(weights, 0.1, momentum=0.9),
}


def make_step(
    config,
    batch_size=8,
    sequence_length=512,
    optimizer="adamw",
    mixed_precision=None,
    gradient_checkpointing=False,
):
    """One training step of the model that the config names; `optimizer` None for inference.

    mixed_precision: None, "bf16" or "fp16". Token models get `sequence_length` ids a sample, image models one image.
    """
    if optimizer is not None and optimizer not in _OPTIMIZERS:
        raise ValueError(f"optimizer {optimizer!r} is none of {[*_OPTIMIZERS, None]}")
    folder = Path(config)
    settings = transformers.AutoConfig.from_pretrained(folder if folder.is_dir() else folder.parent)
    model = _model(settings)
    model.train(optimizer is not None)
    if gradient_checkpointing:
        model.gradient_checkpointing_enable()
    half = {None: None, "bf16": torch.bfloat16, "fp16": torch.float16}[mixed_precision]

    def loss(model, batch):
        with torch.autocast("cuda" if torch.cuda.is_available() else "cpu", half, enabled=half is not None):
            found = model(**batch)
        return found.loss if optimizer is not None else found[0]

    return {
        "model": model,
        "batch": _batch(settings, model, batch_size, sequence_length, optimizer is not None),
        "loss": loss,
        "optimizer": _OPTIMIZERS[optimizer](model.parameters()) if optimizer is not None else None,
    }


def _model(settings):
    """The class that the config names; where it names none, an image classifier or a language model."""
    for name in settings.architectures or []:
        if hasattr(transformers, name):
            return getattr(transformers, name)(settings)
    if _takes_images(settings):
        return transformers.AutoModelForImageClassification.from_config(settings)
    if settings.is_encoder_decoder:
        return transformers.AutoModelForSeq2SeqLM.from_config(settings)
    return transformers.AutoModelForCausalLM.from_config(settings)


def _text(settings):
    return settings.get_text_config() if hasattr(settings, "get_text_config") else settings


def _takes_images(settings):
    return hasattr(settings, "image_size") and not hasattr(_text(settings), "vocab_size")


def _batch(settings, model, batch_size, length, training):
    name = type(model).__name__
    images = _takes_images(settings)
    if getattr(model, "main_input_name", "input_ids") != ("pixel_values" if images else "input_ids"):
        raise ValueError(f"{name} takes {model.main_input_name}; a make_step of your own can give them")
    if images:
        return _images(settings, name, batch_size, training)
    if not hasattr(_text(settings), "vocab_size"):
        raise ValueError(
            f"{name} takes neither token ids nor images alone; a make_step of your own can say what it takes"
        )
    return _ids(settings, name, batch_size, length, training)


def _images(settings, name, batch_size, training):
    side = settings.image_size if isinstance(settings.image_size, int) else settings.image_size[0]
    batch = {"pixel_values": torch.randn(batch_size, settings.num_channels, side, side)}
    if not training:
        return batch
    if "ImageClassification" not in name:
        raise ValueError(f"no loss is known for {name}; a make_step of your own can give one")
    return {**batch, "labels": torch.zeros(batch_size, dtype=torch.long)}


def _ids(settings, name, batch_size, length, training):
    ids = torch.zeros(batch_size, length, dtype=torch.long)
    if not training:
        return {"input_ids": ids, **({"decoder_input_ids": ids} if settings.is_encoder_decoder else {})}
    if "QuestionAnswering" in name:
        return {"input_ids": ids, "start_positions": ids[:, 0].clone(), "end_positions": ids[:, 0].clone()}
    one_label = "SequenceClassification" in name
    if not one_label and not any(kind in name for kind in ("LM", "Generation", "TokenClassification")):
        raise ValueError(f"no loss is known for {name}; a make_step of your own can give one")
    return {
        "input_ids": ids,
        "labels": torch.zeros(batch_size, dtype=torch.long) if one_label else ids.clone(),
    }

"""make_step functions for memory_published.py: the loops of published measurements, on the models beside this file."""

import contextlib

import torch
from memory_published_models import Gpt, RotaryGpt, Vit
from torch.nn.functional import cross_entropy


def _older_attention(*args, **kwargs):
    """FlashAttention 1, in torch before 2.2: its output is contiguous by sample, so that the module copies it."""
    return _attention(*args, **kwargs).transpose(1, 2).contiguous().transpose(1, 2)


_attention = torch.nn.functional.scaled_dot_product_attention


def vit(batch_size=64, precision="fp32", optimizer="adam", accumulate=1, older=False):
    """ViT-L/16 as a classifier of ten; without accumulation gradients live through the forward pass.

    older: attention as in torch before 2.2, and a second temporary of foreach Adam, as before July 2023.
    """
    if older:
        torch.nn.functional.scaled_dot_product_attention = _older_attention
    model = Vit(24, 1024, 16, 4096, 16, 10, module=True).train()
    if precision == "bf16":
        model = model.bfloat16()
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer]
    scaler = torch.amp.GradScaler("cuda") if precision == "amp" else None
    batch = (torch.randn(batch_size, 3, 224, 224), torch.randint(0, 10, (batch_size,)))

    def loss(model, batch):
        with torch.autocast("cuda", torch.float16) if scaler else contextlib.nullcontext():
            logits = model(batch[0].bfloat16() if precision == "bf16" else batch[0])
        return cross_entropy(logits.float(), batch[1]) / accumulate

    def step(model, batch, optimizer):
        for _ in range(accumulate):
            value = loss(model, batch)
            if accumulate == 1:
                optimizer.zero_grad()
            (scaler.scale(value) if scaler else value).backward()
        second = [torch.empty_like(p) for p in model.parameters()] if older and optimizer.state else None
        if scaler:
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()
        del second
        if accumulate > 1:
            optimizer.zero_grad()

    return {"model": model, "batch": batch, "step": step, "optimizer": kind(model.parameters(), lr=1e-3)}


def vit_recomputed(batch_size=32):
    """DINOv2's giant in bfloat16, every block recomputed, fused AdamW."""
    model = Vit(40, 1536, 24, 8192, 14, 45, gated=True, recompute=True).bfloat16().train()
    batch = (
        torch.randn(batch_size, 3, 224, 224, dtype=torch.bfloat16),
        torch.randint(0, 45, (batch_size,)),
    )
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    return {"model": model, "batch": batch, "optimizer": optimizer,
            "loss": lambda model, batch: cross_entropy(model(batch[0]), batch[1])}  # fmt: skip


class Adam8bit(torch.optim.Adam):
    """Stands for that of bitsandbytes, which is known by its module and never run."""


Adam8bit.__module__ = "bitsandbytes.optim"


def vit_compiled(batch_size=8, eight_bit=False):
    """ViT-H/14 compiled, bfloat16 autocast."""
    model = Vit(32, 1280, 16, 5120, 14, 45).train()
    compiled = torch.compile(model)
    optimizer = (
        Adam8bit(model.parameters()) if eight_bit else torch.optim.AdamW(model.parameters(), fused=True)
    )
    batch = (torch.randn(batch_size, 3, 224, 224), torch.randint(0, 45, (batch_size,)))

    def loss(model, batch):
        with torch.autocast("cuda", torch.bfloat16):
            return cross_entropy(compiled(batch[0]), batch[1])

    return {"model": model, "batch": batch, "loss": loss, "optimizer": optimizer}


def gpt(batch_size=8, kept_mask=False, plain=True, fused=False, half=False, fused_adam=True, compiled=False,
        vocab=50257):  # fmt: skip
    """GPT-2 small at 1024 tokens, in the steps of a tutorial that makes it faster."""
    model = Gpt(vocab, 1024, kept_mask, plain, fused)
    if compiled:
        model = torch.compile(model)
    if half:
        model = model.bfloat16()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, **({"fused": True} if fused_adam else {}))
    batch = tuple(torch.randint(0, vocab, (batch_size, 1024)) for _ in range(2))

    def loss(model, batch):
        return cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())

    return {"model": model, "batch": batch, "loss": loss, "optimizer": optimizer}


def rotary_gpt(batch_size=64):
    """Under DistributedDataParallel, whose buckets are as large as the gradients; two optimizers."""
    model = RotaryGpt()
    parts = [
        torch.optim.AdamW(model.head.parameters(), fused=True),
        torch.optim.SGD(model.blocks.parameters(), lr=0.1, momentum=0.95),
    ]
    ids, targets = (torch.randint(0, 50257, (batch_size, 1024)) for _ in range(2))
    buckets = torch.zeros(sum(p.numel() for p in model.parameters()))

    def step(model, batch, optimizer):
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(batch[0], batch[1])
        loss.backward()
        for each in parts:
            each.step()
            each.zero_grad()

    return {"model": model, "batch": (ids, targets, buckets), "step": step, "optimizer": parts[0]}


def trainer(kind, batch_size=2, length=16):
    """A step of Hugging Face's Trainer: gradients clipped, foreach AdamW, gradients freed."""
    import transformers as hf

    classes = {
        "gpt2": (hf.GPT2Config(), hf.GPT2LMHeadModel),
        "bert": (hf.BertConfig(), hf.BertForMaskedLM),
        "roberta": (
            hf.RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1),
            hf.RobertaForSequenceClassification,
        ),
        "vit": (hf.ViTConfig(), hf.ViTForImageClassification),
    }
    config, model = classes[kind]
    model = model(config).train()
    ids, classes = torch.randint(2, 30000, (batch_size, length)), torch.randint(0, 2, (batch_size,))
    batch = {"input_ids": ids, "labels": classes if kind == "roberta" else ids.clone()}
    if kind == "vit":
        batch = {"pixel_values": torch.randn(batch_size, 3, 224, 224), "labels": classes}
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5)

    def step(model, batch, optimizer):
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.zero_grad()

    return {"model": model, "batch": batch, "step": step, "optimizer": optimizer}


def bert(batch_size=4, recompute=False, half=False, accumulation_steps=1, optimizer="adamw"):
    """BERT-large under the Trainer of torch 1.10: a loop over the weights, explicit attention."""
    from transformers import BertConfig, BertForSequenceClassification
    from transformers.optimization import Adafactor

    config = BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
                        attn_implementation="eager")  # fmt: skip
    model = BertForSequenceClassification(config)
    if recompute:
        model.gradient_checkpointing_enable()
    model.train()
    batch = (torch.randint(0, 30522, (batch_size, 512)), torch.randint(0, 2, (batch_size,)))

    def loss(model, batch):
        with torch.autocast("cuda", torch.float16) if half else contextlib.nullcontext():
            return model(input_ids=batch[0], labels=batch[1]).loss

    made = {
        "adamw": lambda weights: torch.optim.AdamW(weights, foreach=False),
        "adafactor": lambda weights: Adafactor(weights, lr=1e-3, scale_parameter=False, relative_step=False),
        "adam8bit": Adam8bit,
    }[optimizer](model.parameters())
    return {"model": model, "batch": batch, "loss": loss, "optimizer": made,
            "accumulation_steps": accumulation_steps}  # fmt: skip


def gpt2(batch_size=4, recompute=False):
    """The model's outputs stay referenced through the backward pass, as in the source."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config())
    if recompute:
        model.gradient_checkpointing_enable()
    model.train()
    kept = []

    def loss(model, batch):
        outputs = model(input_ids=batch, labels=batch)
        kept[:] = [outputs]
        return outputs.loss

    return {"model": model, "batch": torch.randint(0, 50257, (batch_size, 512)), "loss": loss,
            "optimizer": torch.optim.AdamW(model.parameters())}  # fmt: skip

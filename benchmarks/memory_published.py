"""Predictions beside published measurements of Hugging Face models (rows of published.csv, read in place).

    python benchmarks/memory_published.py --python ENVIRONMENT_WITH_TRANSFORMERS

Rows B are from torch 2 and count. Rows A are from torch of about 1.10, which kept the input of softmax beside its
output: they are shown, not counted. Their context of 1343 MiB is the source's own.
"""

import argparse
import csv
import statistics
import tempfile
from pathlib import Path

from optimizing_resources.tools.estimate_memory import EstimateMemoryRequest, estimate_memory

PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "data" / "memory" / "published.csv"
MIB = 2**20
CONTEXT_A_MIB = 1343
MEDIAN, WORST = 0.05, 0.12

STEP = """
import contextlib
import torch
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel
from transformers.optimization import Adafactor

class Adam8bit(torch.optim.Adam):  # stands for that of bitsandbytes, which is known by its module and never run
    pass

Adam8bit.__module__ = "bitsandbytes.optim"

def bert(batch_size=4, recompute=False, half=False, accumulation_steps=1, optimizer="adamw"):
    config = BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
                        attn_implementation="eager")
    model = BertForSequenceClassification(config)
    if recompute:
        model.gradient_checkpointing_enable()
    model.train()
    ids = torch.randint(0, 30522, (batch_size, 512))
    labels = torch.randint(0, 2, (batch_size,))

    def loss(model, batch):
        with torch.autocast("cuda", torch.float16) if half else contextlib.nullcontext():
            return model(input_ids=batch[0], labels=batch[1]).loss

    made = {
        "adamw": lambda weights: torch.optim.AdamW(weights, foreach=False),
        "adafactor": lambda weights: Adafactor(weights, lr=1e-3, scale_parameter=False, relative_step=False),
        "adam8bit": Adam8bit,
    }[optimizer](model.parameters())
    return {"model": model, "batch": (ids, labels), "loss": loss, "optimizer": made,
            "accumulation_steps": accumulation_steps}

def gpt2(batch_size=4, recompute=False):
    model = GPT2LMHeadModel(GPT2Config())
    if recompute:
        model.gradient_checkpointing_enable()
    model.train()
    kept = []

    def loss(model, batch):
        outputs = model(input_ids=batch, labels=batch)
        kept[:] = [outputs]  # as in the source: the outputs stay referenced through the backward pass
        return outputs.loss

    return {"model": model, "batch": torch.randint(0, 50257, (batch_size, 512)), "loss": loss,
            "optimizer": torch.optim.AdamW(model.parameters())}
"""
SMALL = {"batch_size": 1, "accumulation_steps": 4, "recompute": True, "half": True}
ROWS = {
    "B1": ("gpt2", {}),
    "B2": ("gpt2", {"recompute": True}),
    "A1": ("bert", {}),
    "A2": ("bert", {"batch_size": 1, "accumulation_steps": 4}),
    "A3": ("bert", {"batch_size": 1, "accumulation_steps": 4, "recompute": True}),
    "A4": ("bert", {"half": True}),
    "A5": ("bert", SMALL),
    "A6": ("bert", {"optimizer": "adafactor"}),
    "A7": ("bert", {**SMALL, "optimizer": "adafactor"}),
    "A8": ("bert", {"optimizer": "adam8bit"}),
    "A9": ("bert", {**SMALL, "optimizer": "adam8bit"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", required=True)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    options = parser.parse_args()
    rows = {row["id"]: row for row in csv.DictReader(PUBLISHED.read_text(encoding="utf-8").splitlines())}
    errors = []
    print("row  counted  measured MiB  predicted MiB   error   16 bytes per weight")
    with tempfile.TemporaryDirectory() as scratch:
        step = Path(scratch) / "published_step.py"
        step.write_text(STEP, encoding="utf-8")
        for name in options.rows:
            function, arguments = ROWS[name]
            report = estimate_memory(
                EstimateMemoryRequest(
                    step=f"{step}:{function}", arguments=arguments, remedies=[], python=options.python
                )
            )
            row = rows[name]
            measured = float(row["measured_value"]) * (1024 if row["unit"] == "GiB" else 1)
            if name.startswith("B"):  # the peak without the weights
                predicted = (report.peak_allocated_bytes - report.breakdown.weights_bytes) / MIB
                simple = 12 * report.parameters / MIB
            else:
                predicted = report.peak_reserved_bytes / MIB + CONTEXT_A_MIB
                simple = 16 * report.parameters / MIB + CONTEXT_A_MIB
            errors += [abs(predicted / measured - 1)] if name.startswith("B") else []
            print(
                f"{name:4s} {'yes' if name.startswith('B') else 'no':7s} {measured:12.0f} {predicted:14.0f} "
                f"{predicted / measured - 1:+8.1%} {simple / measured - 1:+8.1%}",
                flush=True,
            )
    if not errors:
        return
    median, worst = statistics.median(errors), max(errors)
    verdict = "passed" if median <= MEDIAN and worst <= WORST else "FAILED"
    gate = f"median {median:.1%} (at most {MEDIAN:.0%}), worst {worst:.1%} (at most {WORST:.0%})"
    print(f"{len(errors)} rows of torch 2: {gate}: {verdict}")


if __name__ == "__main__":
    main()

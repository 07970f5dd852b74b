"""The closed formulas of `step: "transformer"` beside the simulation, on transformers near to and far from their GPT.

    python benchmarks/memory_formula.py

Both are computed, nothing is measured. The formulas know dimensions, grouped heads, gates and tied heads, but not
norms, dropout and biases: a model with another block than their GPT's says how far they hold. Needs fork.
"""

import importlib
import multiprocessing
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from optimizing_resources.tools.estimate_memory.dimensions import Dimensions, parts

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "tools"))
STEP = """
import torch
import torch.nn.functional as F
from torch import nn
import sys
sys.path.insert(0, {examples!r})
from gpt_step import make_step as gpt

class Gated(nn.Module):
    "A block as in Llama: RMS norms, a quarter of the heads for keys and values, a gated feed-forward layer."
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.size = heads, width // heads
        few = max(1, heads // 4)
        self.norm_1, self.norm_2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q, self.out = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * few * self.size, bias=False)
        inner = -(-8 * width // 3 // 64) * 64
        self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        b, t, _ = x.shape
        y = self.norm_1(x)
        q = self.q(y).view(b, t, self.heads, self.size).transpose(1, 2)
        k, v = (z.view(b, t, -1, self.size).transpose(1, 2) for z in self.kv(y).chunk(2, -1))
        k, v = (z.repeat_interleave(self.heads // z.shape[1], 1) for z in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, -1))
        y = self.norm_2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))

class Llama(nn.Module):
    def __init__(self, vocabulary, width, layers, heads):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Gated(width, heads) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids):
        x = self.tokens(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

class Bert(nn.Module):
    def __init__(self, vocabulary, width, layers, heads):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.1, "gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, ids):
        return self.head(self.body(self.tokens(ids)))

def other(kind, batch_size, length, width, layers, heads, vocabulary):
    model = {{"llama": Llama, "bert": Bert}}[kind](vocabulary, width, layers, heads)
    ids = torch.randint(0, vocabulary, (batch_size, length))
    return {{"model": model, "batch": ids, "optimizer": torch.optim.AdamW(model.parameters()),
            "loss": lambda m, b: F.cross_entropy(m(b).view(-1, vocabulary), b.view(-1))}}
"""
#        name: kind, batch, length, width, layers, heads, vocabulary
SHAPES = {
    "GPT-2": ("gpt", 12, 1024, 768, 12, 12, 50304),
    "GPT-2 medium": ("gpt", 4, 1024, 1024, 24, 16, 50304),
    "GPT-2 large, batch 1": ("gpt", 1, 1024, 1280, 36, 20, 50304),
    "GPT-2 XL, batch 2": ("gpt", 2, 1024, 1600, 48, 25, 50304),
    "long sequence": ("gpt", 1, 8192, 768, 12, 12, 50304),
    "tiny": ("gpt", 64, 128, 128, 2, 4, 1000),
    "narrow and deep": ("gpt", 8, 512, 256, 32, 8, 8000),
    "Llama-like, 1 billion": ("llama", 1, 2048, 2048, 16, 32, 32000),
    "Llama-like, small": ("llama", 8, 512, 512, 8, 8, 32000),
    "BERT-like, base": ("bert", 16, 512, 768, 12, 12, 30522),
    "BERT-like, short": ("bert", 64, 64, 768, 12, 12, 30522),
}
REMEDIES = ["mixed_precision", "gradient_checkpointing"]


def simulated(step: str, shape: tuple[Any, ...]) -> dict[str, Any] | None:
    """The engine's reply in a process of its own, or None where it gives none."""
    requests = importlib.import_module("memory_requests")
    names = ("batch_size", "length", "width", "layers", "heads", "vocabulary")
    arguments = dict(zip(names, shape[1:], strict=True))
    function = "gpt" if shape[0] == "gpt" else "other"
    arguments |= {} if function == "gpt" else {"kind": shape[0]}
    here, there = multiprocessing.Pipe()
    request = {"step": f"{step}:{function}", "arguments": arguments, "remedies": REMEDIES}
    child = multiprocessing.get_context("fork").Process(target=requests.reply_to, args=(request, there))
    child.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv()
        return None if "refused" in found else found
    except EOFError:
        return None
    finally:
        child.join()


def formula(shape: tuple[Any, ...], remedy: str) -> int:
    """The peak from closed formulas."""
    kind, batch, length, width, layers, heads, vocabulary = shape
    inner = -(-8 * width // 3 // 64) * 64 if kind == "llama" else None
    sizes = Dimensions(
        kv_heads=max(1, heads // 4) if kind == "llama" else None, inner=inner,
        gated=kind == "llama", tied=kind == "gpt",
        layers=layers, hidden=width, heads=heads, vocab=vocabulary, sequence_length=length, batch_size=batch,
        mixed_precision=remedy == "mixed_precision", checkpointing=remedy == "gradient_checkpointing",
    )  # fmt: skip
    return max(sum(alive.values()) for alive in parts(sizes).values())


def main() -> None:
    importlib.import_module("optimizing_resources.tools.estimate_memory.engine.simulate")
    errors: dict[str, list[float]] = {"gpt": [], "other": []}
    print(f"{'model':22s} {'simulated MiB':>13s}   error plain, mixed precision, checkpointed")
    with tempfile.TemporaryDirectory() as scratch:
        step = Path(scratch) / "formula_step.py"
        step.write_text(STEP.format(examples=str(ROOT / "examples")), encoding="utf-8")
        for name, shape in SHAPES.items():
            found = simulated(str(step), shape)
            if found is None:
                print(f"{name:22s} was not simulated")
                continue
            peaks = {"": found["peak_allocated_bytes"]}
            for row in found["remedies"]["rows"]:
                peaks.setdefault(row["ids"][0], row["peak_allocated_bytes"])
            off = [formula(shape, remedy) / peak - 1 for remedy, peak in peaks.items()]
            errors["gpt" if shape[0] == "gpt" else "other"] += off
            print(f"{name:22s} {peaks[''] >> 20:13d}   " + " ".join(f"{e:+7.1%}" for e in off), flush=True)
    for kind, off in errors.items():
        ranked = sorted(map(abs, off))
        print(
            f"{kind}: {len(off)} figures, {min(off):+.1%} to {max(off):+.1%}, median {statistics.median(ranked):.1%}"
        )


if __name__ == "__main__":
    main()

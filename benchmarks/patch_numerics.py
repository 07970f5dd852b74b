"""What half precision makes of single operations, with the patch of apply_amp_patch and CUDA's autocast on a CPU.

    python benchmarks/patch_numerics.py [NAME]

Each row of patch_numerics.csv is an operation in a training loop or in a layer: one that is known to suffer, or its
harmless relative. The script around it is patched for bf16 and for fp16, and trains for three steps by the rules of
CUDA's autocast (cuda_autocast.py). Its loss and gradients are compared with those of the original; beside them stands
the original whose linear layers round what they take and give, which no mixed precision can avoid.

Inputs come in three regimes. silent: in one of them the patched script's error is over four times that of the rounding,
and over 2 % of the loss or 5 % of the gradients; loud: it stops where the original ran. A declined script is neither.
`plain` is what autocast around forward pass and loss, with a scaler, comes to without any of the patch's care.
Results: results/patch_numerics.json.
"""

import csv
import json
import math
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from cuda_autocast import Autocast
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes

HERE = Path(__file__).resolve().parent
REGIMES = {
    "unit": (1.0, 0.0),
    "large": (8.0, 0.0),
    "off zero": (1.0, 4.0),
}  # scale and offset of the inputs
SCALES = [2.0**n for n in (16, 12, 8, 4, 0, -4, -8)]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
HEAD = """import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
"""
LOOP = (
    HEAD
    + """
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
{setup}
net = {net}.to(device)
optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
total = 0
for x, y in data:
    x, y = x.to(device), y.to(device)
    optimizer.zero_grad()
    out = net(x)
    {code}
    loss.backward()
    optimizer.step()
    {after}
"""
)
LAYER = (
    HEAD
    + """

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 16)
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("freq", torch.ones(8))
        {setup}

    def forward(self, x):
        h = self.fc(x)
        {code}
        return h


device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
net = Net().to(device)
optimizer = torch.optim.SGD(net.parameters(), lr=1e-6)
for x, y in data:
    optimizer.zero_grad()
    loss = F.mse_loss(net(x.to(device)), y.to(device))
    loss.backward()
    optimizer.step()
"""
)


def script(row: dict[str, str]) -> str:
    indent = "\n    " if row["where"] == "loop" else "\n        "
    setup = row["setup"].replace("; ", "\n" if row["where"] == "loop" else indent)
    code, after = row["code"].replace("; ", indent), row["after"] or "pass"
    template = LOOP if row["where"] == "loop" else LAYER
    net = row["net"] or "nn.Linear(16, 16)"
    return template.format(setup=setup or "pass", code=code, after=after, net=net)


def plain(row: dict[str, str], precision: str) -> str:
    """The script with autocast around its forward pass and loss, and nothing else."""
    text = script(row)
    first, last = (
        ("    out = net(x)\n", "    loss.backward()")
        if row["where"] == "loop"
        else ("    loss = F.mse", "    loss.b")
    )
    start, end = text.rindex(first), text.rindex(last)
    inside = text[start:end].replace("\n    ", "\n        ").rstrip(" ")
    header = f'    with torch.autocast("cuda", dtype={DTYPES[precision]}):\n    '
    text = text[:start] + header + inside + text[end:]
    if precision == "bf16":
        return text
    text = text.replace("loss.backward()", "scaler.scale(loss).backward()")
    text = text.replace("optimizer.step()", "scaler.step(optimizer)\n    scaler.update()")
    return text.replace("optimizer = ", 'scaler = torch.amp.GradScaler("cuda")\noptimizer = ')


def batches(text: str, regime: tuple[float, float]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs of a regime, and targets that fit what a script does with them."""
    torch.manual_seed(0)
    scale, offset = regime
    x = [torch.randn(16, 16) * scale + offset for _ in range(3)]
    y = [torch.rand(16, 16) for _ in range(3)]
    if "cross_entropy(cos" in text or "cross_entropy(torch.cos" in text:
        y = [torch.arange(16) for _ in range(3)]
    if "index_copy" in text or "bincount" in text:
        y = [torch.arange(16.0) for _ in range(3)]
    if "bag(" in text:
        y = [t * 9 for t in y]
    return list(zip(x, y, strict=True))


class Overflow(Exception):
    """A gradient is not finite at this scale."""


class Scaler:
    """One scale for a whole run; `run` takes the largest that overflows no gradient, as a GradScaler ends up with."""

    scale_of_run = 1.0

    def __init__(self, *arguments: Any, enabled: bool = True, **options: Any) -> None:
        self._scale, self._unscaled = self.scale_of_run, False

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        return loss.float() * self._scale

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        self._unscaled = True
        for group in optimizer.param_groups:
            for parameter in (p for p in group["params"] if p.grad is not None):
                parameter.grad /= self._scale

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        if not self._unscaled:
            self.unscale_(optimizer)
        held = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self._scale > SCALES[-1] and not all(bool(torch.isfinite(g).all()) for g in held):
            raise Overflow
        optimizer.step()

    def update(self) -> None:
        self._unscaled = False


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def rounding(dtype: torch.dtype, linear: Callable) -> Callable:
    """`F.linear` whose operands and result are rounded to `dtype`, with the gradient of the identity."""

    def rounded(tensor: torch.Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else tensor + (tensor.to(dtype).float() - tensor).detach()

    return lambda x, weight, bias=None: rounded(linear(rounded(x), rounded(weight), rounded(bias)))


Figures = tuple[float, torch.Tensor]  # the loss of the last step, and all gradients


def run(text: str, regime: tuple[float, float], linear: Callable | None = None) -> Figures | str:
    """What a script ends with, or the error that stops it."""
    for scale in SCALES:
        with replaced(Scaler, "scale_of_run", scale), suppress(Overflow):
            return _run(text, regime, linear or torch.nn.functional.linear)
    raise AssertionError("the smallest scale overflows nothing")


def _run(text: str, regime: tuple[float, float], linear: Callable) -> Figures | str:
    found: dict[str, Any] = {"data": batches(text, regime), "__name__": "script"}
    torch.manual_seed(0)
    with (
        replaced(torch, "autocast", Autocast),
        replaced(torch.amp, "GradScaler", Scaler),
        replaced(torch.nn.functional, "linear", linear),
    ):
        try:
            exec(compile(text, "script.py", "exec"), found)
        except Overflow:
            raise
        except Exception as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"
    gradients = [p.grad.float().flatten() for p in found["net"].parameters() if p.grad is not None]
    return found["loss"].detach().float().mean().item(), torch.cat(gradients)


def apart(one: Figures, other: Figures) -> tuple[float, float]:
    """How far two runs are from each other: the loss and the gradients, relative to the first."""
    loss = abs(other[0] - one[0]) / (abs(one[0]) + 1e-6)
    return loss, ((other[1] - one[1]).norm() / (one[1].norm() + 1e-12)).item()


def judge(row: dict[str, str], precision: str) -> dict[str, Any]:
    """The verdict on the patch of a script, and on plain autocast: the worst of all regimes."""
    text = script(row)
    result = patch(text, ["mixed_precision"], Wishes(precision), None)
    found: dict[str, Any] = {"plain": worst(text, plain(row, precision), precision)}
    if result.outcome != "patched":
        return {"verdict": "declined", "why": result.sites[0].reason_code, **found}
    found |= worst(text, result.text, precision)
    if found["verdict"] == "right" and any(s.reason_code.startswith("fp32") for s in result.sites):
        found["verdict"] = "right, part in fp32"
    return found


def worst(text: str, other: str, precision: str) -> dict[str, Any]:
    """How a script compares with the original in the regime that is worst for it."""
    found = []
    for name, regime in REGIMES.items():
        original = run(text, regime)
        rounded = run(text, regime, rounding(DTYPES[precision], torch.nn.functional.linear))
        if isinstance(original, str) or isinstance(rounded, str):
            continue
        least = apart(original, rounded)
        if not all(map(math.isfinite, [original[0], *least])):
            continue  # nothing to compare with
        found.append({**compared(original, run(other, regime), least), "regime": name, "rounding": least})
    order = ("loud", "silent", "right")
    return min(
        found, key=lambda f: order.index(f["verdict"]), default={"verdict": "no script", "why": "not finite"}
    )


def compared(original: Figures, other: Figures | str, least: tuple[float, float]) -> dict[str, Any]:
    """Whether a run is right; `least` is how far rounding alone leads. Differences are relative: loss and gradients."""
    if isinstance(other, str):
        return {"verdict": "loud", "why": other}
    loss, gradients = apart(original, other)
    close = loss <= max(4 * least[0], 0.02) and gradients <= max(4 * least[1], 0.05)
    return {"verdict": "right" if close else "silent", "difference": (loss, gradients)}


def shown(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))


def main() -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    rows = list(csv.DictReader((HERE / "patch_numerics.csv").open(encoding="utf-8")))
    found: dict[str, Any] = {"versions": {"torch": torch.__version__}}
    for row in (r for r in rows if not sys.argv[1:] or sys.argv[1] in r["name"]):
        found[row["name"]] = {precision: judge(row, precision) for precision in DTYPES}
        for precision, verdict in found[row["name"]].items():
            if sys.argv[1:] or verdict["verdict"] in ("silent", "loud", "no script"):
                print(row["name"], precision, json.dumps(verdict))
    for precision in DTYPES:
        verdicts = [v[precision] for n, v in found.items() if n != "versions"]
        ours, plainly = (
            Counter(v["verdict"] for v in verdicts),
            Counter(v["plain"]["verdict"] for v in verdicts),
        )
        needed = sum(v["verdict"] == "declined" and v["plain"]["verdict"] != "right" for v in verdicts)
        print(f"{precision}: {shown(ours)} (wrong or loud if patched plainly: {needed} of the declined)")
        print(f"{precision}, plain: {shown(plainly)}")
    if not sys.argv[1:]:
        lines = [f" {json.dumps(name)}: {json.dumps(brief(verdict))}" for name, verdict in found.items()]
        target = HERE / "results" / "patch_numerics.json"
        target.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def brief(value: Any) -> Any:
    """Figures with three digits, and of plain autocast the verdict alone."""
    if isinstance(value, dict):
        return {k: v["verdict"] if k == "plain" else brief(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [brief(v) for v in value]
    return float(f"{value:.2g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()

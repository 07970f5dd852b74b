"""Names that mean something to the judge, and what it reports."""

import ast
import re
from dataclasses import dataclass

LOOPS = (ast.For, ast.While, ast.AsyncFor)
DEFS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
DEPRECATED = ("torch.cuda.amp.", "torch.cpu.amp.")
AUTOCAST = {
    "torch.autocast",
    "torch.amp.autocast",
    "torch.amp.autocast_mode.autocast",
    "torch.cuda.amp.autocast",
    "torch.cpu.amp.autocast",
}
SCALER = {"torch.amp.GradScaler", "torch.cuda.amp.GradScaler", "torch.amp.grad_scaler.GradScaler"}
BCE_FUNCTION = {"torch.nn.functional.binary_cross_entropy", "torch.binary_cross_entropy"}
SIGMOID = {"torch.sigmoid", "torch.nn.functional.sigmoid"}
RESHAPING = {
    "float",
    "view",
    "squeeze",
    "unsqueeze",
    "reshape",
    "flatten",
    "mean",
    "cuda",
    "cpu",
    "contiguous",
}
FULL_LAYER = "|".join(
    rf"class Float32{kind}_*\(\w+\.nn\.{kind}\):\s+def forward\(self, input\):\s+return \w+\.{forward}"
    for kind, forward in (
        ("Sigmoid", r"sigmoid\(input\.float\(\)\)"),
        ("Softmax", r"nn\.functional\.softmax\(input\.float\(\), self\.dim\)"),
    )
)
CLIP = re.compile(r"torch\.nn\.utils\.(clip_grad|get_total_norm|clip_grads)")
CALM = {"print", "len", "isinstance", "getattr", "hasattr", "setattr", "type", "id", "next", "iter", "float"}


@dataclass(frozen=True)
class Fault:
    line: int
    code: str
    detail: str = ""

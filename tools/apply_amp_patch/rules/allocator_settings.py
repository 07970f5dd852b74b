"""Expandable segments: the CUDA allocator grows its blocks instead of keeping fragments of every size.

    import torch   ->   os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
                        import torch

It has to be set before CUDA starts, hence in front of the first import.
https://docs.pytorch.org/docs/stable/notes/cuda.html#optimizing-memory-usage-with-pytorch-cuda-alloc-conf
"""

import ast

from ..context import Context
from ..edits import Line
from ..patch import Patch, Site
from ..prelude import header_line

REMEDY = "allocator_settings"
_NAMES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")

_PACKAGES = {
    "torch",
    "transformers",
    "trl",
    "lightning",
    "pytorch_lightning",
    "accelerate",
    "fastai",
    "skorch",
    "ignite",
}
_BUILT = ("Trainer", "TrainingArguments", "Config", "Learner", "learner", "Accelerator", "Fabric")


def propose(context: Context) -> Patch:
    """The setting in front of the first import; a value from outside wins."""
    script = context.script
    for node in script.nodes:
        if isinstance(node, ast.Constant) and node.value in _NAMES:
            return Patch(
                "already", [Site(node.lineno, REMEDY, "keep", "already", f"the script sets {node.value}")]
            )
    imports = [s for s in script.tree.body if isinstance(s, ast.Import | ast.ImportFrom | ast.Try | ast.If)]
    imports = [s for s in imports if not (isinstance(s, ast.ImportFrom) and s.module == "__future__")]
    uses_torch = script.torch_name() or any(
        _brings_torch(n)
        or (isinstance(n, ast.Name) and script.qualified(n) == "torch")  # through a star import
        for n in script.nodes
    )
    if not uses_torch:
        return Patch("nothing_to_do", [Site(1, REMEDY, "keep", "no_torch", "the file imports no torch")])
    if not _starts(context):
        note = "the file only defines things: set PYTORCH_CUDA_ALLOC_CONF in the script that starts, before CUDA does"
        return Patch("declined", [Site(1, REMEDY, "decline", "not_the_start", note)])
    line = imports[0].lineno if imports else header_line(script)
    lines = [
        "import os",
        "",
        "# Before CUDA starts: the allocator grows its segments instead of keeping fragments.",
        f'os.environ.setdefault("{_NAMES[0]}", "expandable_segments:True")',
        "",
    ]
    note = "has effect on CUDA under Linux; a value that is set outside of the script wins"
    return Patch(
        "patched",
        [Site(line, REMEDY, "edit", "expandable_segments", note)],
        [Line(line, script.indentation(line), "\n".join(lines))],
    )


def _brings_torch(node: ast.AST) -> bool:
    """An import of torch, or of a framework that trains with it."""
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
    names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    return any(name.split(".")[0] in _PACKAGES for name in names)


def _starts(context: Context) -> bool:
    """Whether the file does something when it runs, beyond defining, importing and naming."""
    for statement in context.script.tree.body:
        if isinstance(statement, ast.For | ast.While | ast.With):
            return True
        if isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test):
            return True
        if isinstance(statement, ast.Expr | ast.Assign) and any(
            isinstance(n, ast.Call) and _is_work(context, n) for n in ast.walk(statement)
        ):
            return True
    return False


def _is_work(context: Context, call: ast.Call) -> bool:
    """A call that a mere library file does not make on import: of a function of the file, or of a model."""
    name = context.script.called(call) or ""
    own = bool(context.roles.callees(call)) or any(
        o.kind == "class" for o in context.roles.origins(call.func)
    )
    framework = name.startswith(tuple(f"{p}." for p in _PACKAGES - {"torch"})) and name.endswith(_BUILT)
    return (
        own or framework or name.startswith(("torch.nn.", "torch.optim.", "torch.utils.data.", "argparse."))
    )

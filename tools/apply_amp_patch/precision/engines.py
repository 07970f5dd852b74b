"""What runs backward or decides the precision in place of a file's own loops."""

import ast

from ..context import Context
from ..patch import Declined

_ENGINES = {
    "torch.distributed.fsdp.": ("fsdp", "FSDP has its own mixed precision policy"),
    "torch.distributed.rpc": ("distributed_autograd", "RPC training has its own backward"),
    "torch.distributed.autograd": ("distributed_autograd", "RPC training has its own backward"),
    "torch.distributed.pipelining": ("distributed_autograd", "a pipeline schedule runs backward itself"),
    "torch.cuda.CUDAGraph": ("cuda_graph", "a captured graph replays the kernels of its own precision"),
    "torch.cuda.graph": ("cuda_graph", "a captured graph replays the kernels of its own precision"),
    "torch.autograd.backward": ("autograd_backward", "torch.autograd.backward has no loss to follow"),
    "torch_xla": ("xla", "XLA devices have their own autocast and optimizer step"),
    "opacus.": ("engine_backward", "Opacus clips each sample's gradient to a bound that rounding would move"),
    "torch.jit.load": ("traced_model", "a saved TorchScript model keeps the precision it was made in"),
    "torch.jit.trace": ("traced_model", "a traced model keeps the precision it was traced in"),
}


def per_sample(context: Context) -> None:
    """Raise where gradients are clipped sample by sample: the weight of a loss would change what is clipped."""
    for node in context.script.nodes:
        if (context.script.qualified(node) or "").startswith("opacus."):
            note = "Opacus clips each sample's gradient; its BatchMemoryManager splits batches"
            raise Declined(getattr(node, "lineno", 1), "engine_backward", note)


def engines(context: Context) -> None:
    """Raise where something else than this file's loops runs backward or decides the precision."""
    script, roles = context.script, context.roles
    for node in script.nodes:
        if not isinstance(node, ast.Attribute | ast.Name):
            continue
        name = script.qualified(node)
        for prefix, (code, note) in _ENGINES.items():
            if name and name.startswith(prefix):
                raise Declined(node.lineno, code, note)
    called = {ast.unparse(c.func) for c in script.calls}
    for call in script.method_calls("backward"):
        assert isinstance(call.func, ast.Attribute)
        owner = ast.unparse(call.func.value)
        if call.args and (owner in called or roles.stepper(call.func.value) == "optimizer"):
            raise Declined(
                call.lineno, "engine_backward", f"{owner}.backward(...) is the backward of an engine"
            )

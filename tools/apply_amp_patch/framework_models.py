"""Models of transformers: which train, and whose `gradient_checkpointing_enable()` raises an error.

`supports_gradient_checkpointing` of their classes is False in transformers 4.57 and in 5.24.
"""

import ast
import re

from .context import Context
from .flow import path
from .script import Script

_FAMILIES = (
    "Albert Bit ConvNext ConvNextV2 CTRL Cvt Dinat DPR EfficientNet Flaubert Funnel GLPN IBert LayoutLMv2 LayoutLMv3 "
    "Levit Lxmert MarkupLM Mask2Former MaskFormer MPNet OneFormer OpenAIGPT Perceiver PoolFormer Pvt Reformer RegNet "
    "ResNet RTDetr SqueezeBert TableTransformer UperNet XLM XLNet"
)
_WITHOUT = _FAMILIES.split()
_CLASS = re.compile(
    rf"transformers\.([\w.]+\.)?({'|'.join(_WITHOUT)})(Model|For|LMHead|With|Pre|Simple|Double)"
)
# names of checkpoints that an Auto class may be given; what also names parts of other models is left out
_NAMES = {n.lower() for n in _WITHOUT} - {"bit", "resnet", "dpr", "pvt"}


def has_no_checkpointing(script: Script, call: ast.Call) -> bool:
    """Whether a call makes such a model: by its class, or by the checkpoint that an Auto class is given."""
    name = script.called(call) or ""
    if _CLASS.match(name):
        return True
    given = call.args[0] if call.args else None
    if isinstance(given, ast.Name):
        values = [b.value for b in script.bindings(given.id, given)]
        given = values[0] if len(values) == 1 else None
    if not (isinstance(given, ast.Constant) and isinstance(given.value, str)):
        return False
    words = set(re.split(r"[^a-z0-9]+", given.value.lower().split("/")[-1]))
    return ".AutoModel" in name and bool(words & _NAMES)


def may_train(context: Context, holder: str, made: ast.stmt) -> bool:
    """Whether a model is more than a frozen helper, or a source of weights that are copied."""
    script, name = context.script, holder.split(".")[0]
    ours = script.bindings(name, made)

    def calls(method: str) -> list[ast.Call]:
        return [c for c in script.method_calls(method) if ast.unparse(c.func.value) == holder]  # type: ignore[attr-defined]

    frozen = any(c.args and ast.unparse(c.args[0]) == "False" for c in calls("requires_grad_"))
    if frozen or (calls("eval") and not calls("train")):
        return False
    nodes = [n for n in script.nodes if path(n) == holder and script.bindings(name, n) is ours]
    reads = [n for n in nodes if isinstance(getattr(n, "ctx", None), ast.Load)]
    looks = ("state_dict", "config")
    return not reads or any(getattr(script.parents[n], "attr", "") not in looks for n in reads)

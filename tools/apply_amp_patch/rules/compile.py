"""The model compiled in place, so that checkpoints keep their keys.

    model = Net().to(device)   ->   model = Net().to(device)
                                    model.compile()

https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.compile
"""

import ast

from ..context import Context
from ..edits import Edit, Line
from ..models import trained_models
from ..patch import Patch, Site

REMEDY = "compile"


def propose(context: Context) -> Patch:
    """`model.compile()` behind the construction of every model that trains."""
    script = context.script
    for call in script.calls:
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if script.called(call) == "torch.compile" or (
            method == "compile" and not script.qualified(call.func)
        ):
            return Patch(
                "already", [Site(call.lineno, REMEDY, "keep", "already", "the script compiles already")]
            )
    if not context.training.backwards:
        return Patch(
            "nothing_to_do", [Site(1, REMEDY, "keep", "no_training_loop", "no training loop in this file")]
        )
    models = trained_models(context)
    if not models:
        line = context.training.backwards[0].call.lineno
        note = "the statement that makes the model cannot be found in this file"
        return Patch("declined", [Site(line, REMEDY, "decline", "model_not_found", note)])
    edits: list[Edit] = []
    sites: list[Site] = []
    for model in models:
        line = (model.made.end_lineno or model.made.lineno) + 1
        edits.append(Line(line, script.indentation(model.made.lineno), f"{model.path}.compile()"))
        sites.append(
            Site(model.made.lineno, REMEDY, "edit", "compiled", f"{model.path} is compiled at its first call")
        )
    warnings = ["the first steps take longer; inputs of changing shapes are compiled again"]
    return Patch("patched", sites, edits, warnings)

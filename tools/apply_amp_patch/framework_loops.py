"""Frameworks that own the training loop: their own option for a remedy, or what to write there.

A Trainer accumulates by a keyword, and no loop of it stands in the script. The option is set where it alone keeps the
results; where more belongs to it (a loader's batch, callbacks) the answer says what to write.
https://huggingface.co/docs/transformers/main_classes/trainer, https://lightning.ai/docs/pytorch/stable/common/trainer.html
"""

import ast

from .arguments import further_argument
from .context import Context
from .edits import Edit, Span
from .framework_advice import ADVICE
from .framework_options import TRAINING_ARGUMENTS, merged
from .framework_wrappers import is_learner
from .patch import Declined, Patch, Site

_ACCUMULATION = "gradient_accumulation"
_DEFAULT_STEPS = 2
_BATCH, _DEFAULT_BATCH = "per_device_train_batch_size", 8  # of TrainingArguments
_NEW = "needs transformers 4.46 or newer: before, tokens of micro-batches did not weigh alike"
# Of Trainer's models these alone divide by the terms of the whole group. Others take `num_items_in_batch` and leave it
# unread, and then the Trainer does not divide by the steps either: gradients N times too large (seen in transformers
# 5.24 with BERT and T5; https://github.com/huggingface/transformers/issues/37766).
_CAUSAL = ("ForCausalLM", "LMHeadModel")
_KEYWORDS = {
    "transformers": "gradient_accumulation_steps",
    "lightning": "accumulate_grad_batches",
    "accelerate": "gradient_accumulation_steps",
    "ignite": "gradient_accumulation_steps",
}
_OF_THE_LOOP = {_ACCUMULATION, "gradient_checkpointing", "lr_schedule", "early_stopping", "compile"}
_OWNERS = {
    "accelerate.Accelerator": "accelerate",
    "accelerate.accelerator.Accelerator": "accelerate",
    "deepspeed.initialize": "deepspeed",
    "ignite.engine.create_supervised_trainer": "ignite",
    "composer.Trainer": "composer",
    "composer.trainer.Trainer": "composer",
    **dict.fromkeys(TRAINING_ARGUMENTS, "transformers"),
    **dict.fromkeys(("lightning.Fabric", "lightning.fabric.Fabric", "lightning_fabric.Fabric"), "fabric"),
}
_TRAINERS = {"pytorch_lightning.Trainer", "pytorch_lightning.trainer.Trainer", "lightning.Trainer"}
_TRAINERS |= {"lightning.pytorch.Trainer", "lightning.pytorch.trainer.Trainer"}
_MODULES = {"pytorch_lightning.LightningModule", "pytorch_lightning.core.LightningModule"}
_MODULES |= {"lightning.LightningModule", "lightning.pytorch.LightningModule"}
_PARSERS = {
    "transformers.HfArgumentParser": "transformers",
    "trl.TrlParser": "transformers",
    "lightning.pytorch.cli.LightningCLI": "lightning",
    "pytorch_lightning.cli.LightningCLI": "lightning",
    "pytorch_lightning.utilities.cli.LightningCLI": "lightning",
}
_PARSERS |= {f"{name}.from_argparse_args": "lightning" for name in _TRAINERS}


def accumulation_option(context: Context) -> Patch | None:
    """The framework's keyword for accumulation. Raises Declined where more than it belongs to the change."""
    owners = [(c, k) for c, k, code in _owners(context) if code == "framework_option"]
    patches = [_accumulated(context, call, kind) for call, kind in owners if isinstance(call, ast.Call)]
    return merged(patches) if patches else None


def in_its_place(context: Context, remedy: str, found: Patch) -> Patch:
    """What a rule found; where it found nothing because a framework trains, what to write there."""
    if found.outcome != "nothing_to_do":
        return found
    for node, kind, code in _owners(context):
        if (kind, remedy) == ("transformers", "lr_schedule"):
            note = 'TrainingArguments lowers the rate already (linearly; or lr_scheduler_type="cosine")'
            return Patch("already", [Site(node.lineno, remedy, "keep", "already", note)])
        if (kind, remedy) in ADVICE or remedy in _OF_THE_LOOP:
            return Declined(node.lineno, code, _advice(context, kind, remedy)).as_patch(remedy)
    return found


def _advice(context: Context, kind: str, remedy: str) -> str:
    steps = context.wishes.accumulation_steps or _DEFAULT_STEPS
    text = ADVICE.get((kind, remedy), f"see its documentation on {remedy.replace('_', ' ')}").format(
        steps=steps
    )
    return f"the loop is that of {kind}: {text}"


def _owners(context: Context) -> list[tuple[ast.Call | ast.ClassDef, str, str]]:
    """What owns the loop: a call, the framework's name, and the code of a decline; then what only hints at one."""
    script = context.script
    named = [(c, script.called(c) or "") for c in script.calls]
    built: list[tuple[ast.Call | ast.ClassDef, str, str]] = []
    for call, name in named:
        kind = _OWNERS.get(name) or ("lightning" if name in _TRAINERS else None)
        kind = kind or ("skorch" if name.startswith("skorch.") and ".Neural" in name else None)
        kind = kind or ("fastai" if is_learner(script, call) else None)
        built += [(call, kind, "framework_option")] if kind else []
    built += [(c, _PARSERS[n], "framework_flag") for c, n in named if n in _PARSERS]
    modules = [h for h in script.classes if not _MODULES.isdisjoint(context.roles.base_names(h))]
    return built + [(holder, "lightning", "framework_elsewhere") for holder in modules]


def _accumulated(context: Context, call: ast.Call, kind: str) -> Patch:
    """The keyword set, with the batch divided where TrainingArguments holds both."""
    wishes, keyword, name = context.wishes, _KEYWORDS.get(kind, ""), ast.unparse(call.func)
    steps = wishes.accumulation_steps or _DEFAULT_STEPS
    given = {k.arg: k.value for k in call.keywords}
    now = _number(given[keyword]) if keyword in given else 1
    if now is None or (now > 1 and wishes.accumulation_steps in (None, now)):
        note = f"{name} has {keyword}={ast.unparse(given[keyword])}"
        return Patch("already", [Site(call.lineno, _ACCUMULATION, "keep", "already", note)])
    if None in given or (kind == "transformers" and len(call.args) > 1):
        note = f"{name} takes its options from a dictionary or by position: {_advice(context, kind, _ACCUMULATION)}"
        raise Declined(call.lineno, "framework_flag", note)
    values = {keyword: str(steps)}
    if kind == "transformers":
        _check_loss(context, call, steps)
    if kind == "transformers" and not wishes.grow_batch:
        values[_BATCH] = _divided(context, call, given, steps, now)
    elif not _option_suffices(context, kind, keyword in given):
        raise Declined(call.lineno, "framework_option", _advice(context, kind, _ACCUMULATION))
    note = f"{name}'s own option: {', '.join(f'{k}={v}' for k, v in values.items())}"
    site = Site(call.lineno, _ACCUMULATION, "edit", "framework_option", note)
    notes = [_NEW] if kind == "transformers" else []
    return Patch("framework_option", [site], _set(context, call, given, values), notes)


def _option_suffices(context: Context, kind: str, present: bool) -> bool:
    """Whether the keyword alone accumulates whole batches: a loop that steps by hand does not look at it."""
    script = context.script
    if not context.wishes.grow_batch or kind not in _KEYWORDS:
        return False
    if kind == "accelerate":
        return present and bool(script.method_calls("accumulate"))
    scripts = (script, *context.project.values())
    return not any(getattr(n, "attr", "") == "automatic_optimization" for s in scripts for n in s.nodes)


def _check_loss(context: Context, call: ast.Call, steps: int) -> None:
    """Raises Declined unless the model's own loss is divided by the tokens of the whole group."""
    script, name = context.script, context.script.called(call) or ""
    own = next((f for f in script.functions if f.name == "compute_loss"), None)
    models = [n for n in map(script.called, script.calls) if n and n.startswith("transformers.")]
    models = [
        n for n in models if n.endswith((".from_pretrained", ".from_config")) and ("Model" in n or "For" in n)
    ]
    causal = name == "trl.SFTConfig" or (
        name.startswith("transformers.")
        and models
        and all(n.split(".")[-2].endswith(_CAUSAL) for n in models)
    )
    if own is None and causal:
        return
    note = (
        "the Trainer divides the loss of language models alone by the terms of the whole group; for others give it "
        f"model_accepts_loss_kwargs = False before train(), then gradient_accumulation_steps={steps} and a "
        f"{steps}-th of {_BATCH}, if the loss is a mean over samples"
    )
    raise Declined(own.lineno if own else call.lineno, "loss_unknown", note)


def _divided(
    context: Context, call: ast.Call, given: dict[str | None, ast.expr], steps: int, now: int
) -> str:
    """Source of the batch size of a micro-batch: samples per optimizer step stay the same."""
    dropped = given.get("dataloader_drop_last")
    if dropped is not None and ast.unparse(dropped) != "False":
        note = "dataloader_drop_last leaves out a last, smaller batch; of smaller batches it would leave out less"
        raise Declined(dropped.lineno, "batch_not_divisible", note)
    size = given.get(_BATCH)
    value = _DEFAULT_BATCH if size is None else _constant(context, size)
    if value is None:
        note = f"{_BATCH} comes from {ast.unparse(size or call)}: divide it by {steps} there, and set "
        raise Declined(call.lineno, "framework_flag", f"{note}{_KEYWORDS['transformers']}={steps}")
    if value * now % steps:
        note = f"a batch of {value * now} cannot be divided into {steps} equal parts"
        raise Declined(call.lineno, "batch_not_divisible", note)
    if now == 1 and isinstance(size, ast.Name):
        return f"{context.script.code(size)} // {steps}"
    return str(value * now // steps)


def _number(node: ast.expr) -> int | None:
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def _constant(context: Context, node: ast.expr) -> int | None:
    """A number, written here or bound to a name once."""
    if not isinstance(node, ast.Name):
        return _number(node)
    bindings = context.script.bindings(node.id, node)
    if len(bindings) != 1 or bindings[0].kind != "assign" or bindings[0].index is not None:
        return None
    return _number(bindings[0].value) if bindings[0].value is not None else None


def _set(
    context: Context, call: ast.Call, given: dict[str | None, ast.expr], values: dict[str, str]
) -> list[Edit]:
    script = context.script
    edits: list[Edit] = [
        Span(script.start(given[k]), script.end(given[k]), v) for k, v in values.items() if k in given
    ]
    further = ", ".join(f"{k}={v}" for k, v in values.items() if k not in given)
    return [*edits, further_argument(script, call, further)] if further else edits

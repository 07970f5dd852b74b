"""Frameworks whose precision is a keyword of a constructor: Lightning, Accelerate, Composer, Ignite, Trainer."""

import ast
from dataclasses import dataclass

from .arguments import further_argument
from .context import Context
from .edits import Edit, Span
from .patch import Declined, Patch, Site
from .prelude import free_name, header

REMEDY = "mixed_precision"


@dataclass(frozen=True)
class Option:
    """A constructor's keyword and its values; `off` are values that mean full precision."""

    keyword: str
    bf16: str | None
    fp16: str | None
    off: tuple[str, ...] = ("None",)
    source: str = ""


_PRECISION = Option(
    "precision",
    '"bf16-mixed"',
    '"16-mixed"',
    ("None", "32", "'32'", "'32-true'"),
    "https://lightning.ai/docs/pytorch/stable/common/precision_basic.html",
)
_ACCELERATE = Option(
    "mixed_precision",
    '"bf16"',
    '"fp16"',
    ("None", "'no'"),
    "https://huggingface.co/docs/accelerate/package_reference/accelerator",
)
_COMPOSER = Option("precision", '"amp_bf16"', '"amp_fp16"', ("None", "'fp32'"))
_IGNITE = Option(
    "amp_mode",
    None,
    '"amp", scaler=True',
    ("None",),
    "https://docs.pytorch.org/ignite/generated/ignite.engine.html",
)
_CONSTRUCTORS: dict[str, Option] = {
    **dict.fromkeys(
        (
            "pytorch_lightning.Trainer",
            "pytorch_lightning.trainer.Trainer",
            "lightning.Trainer",
            "lightning.pytorch.Trainer",
            "lightning.Fabric",
            "lightning.fabric.Fabric",
            "lightning_fabric.Fabric",
        ),
        _PRECISION,
    ),
    "accelerate.Accelerator": _ACCELERATE,
    "accelerate.accelerator.Accelerator": _ACCELERATE,
    "composer.Trainer": _COMPOSER,
    "composer.trainer.Trainer": _COMPOSER,
    "ignite.engine.create_supervised_trainer": _IGNITE,
}
TRAINING_ARGUMENTS = {
    "transformers.TrainingArguments",
    "transformers.Seq2SeqTrainingArguments",
    "transformers.training_args.TrainingArguments",
    "trl.SFTConfig",
    "trl.DPOConfig",
    "trl.RewardConfig",
    "trl.GRPOConfig",
    "trl.KTOConfig",
    "trl.ORPOConfig",
    "trl.PPOConfig",
    "sentence_transformers.SentenceTransformerTrainingArguments",
}


def constructors(context: Context) -> Patch | None:
    script = context.script
    calls = [(c, _CONSTRUCTORS[n]) for c in script.calls if (n := script.called(c) or "") in _CONSTRUCTORS]
    built = [
        c
        for c in script.method_calls("from_argparse_args")
        if isinstance(c.func, ast.Attribute) and (script.qualified(c.func.value) or "") in _CONSTRUCTORS
    ]
    if built:
        raise Declined(
            built[0].lineno,
            "framework_flag",
            "the Trainer takes its options from the command line: --precision",
        )
    if not calls:
        return None
    patches = [_set(context, call, option) for call, option in calls]
    return merged(patches)


def _set(context: Context, call: ast.Call, option: Option) -> Patch:
    given = next((k for k in call.keywords if k.arg == option.keyword), None)
    name = context.script.called(call)
    if given is not None and ast.unparse(given.value) not in option.off:
        if isinstance(given.value, ast.Constant):
            note = f"{name} has {option.keyword}={ast.unparse(given.value)}"
        else:
            note = f"{name} takes {option.keyword} from {ast.unparse(given.value)}: set it there"
        return Patch("already", [Site(given.value.lineno, REMEDY, "keep", "already", note)])
    if given is None and not all(
        _leaves_open(context, k.value, option.keyword) for k in call.keywords if not k.arg
    ):
        raise Declined(
            call.lineno,
            "framework_flag",
            f"{name} takes its options from a dictionary: set {option.keyword} there",
        )
    value, edits, notes = _value(context, option, call)
    if given is not None:
        edits.append(Span(context.script.start(given.value), context.script.end(given.value), value))
    else:
        edits.append(further_argument(context.script, call, f"{option.keyword}={value}"))
    site = Site(call.lineno, REMEDY, "edit", "framework_option", f"{name}'s own option {option.keyword}")
    return Patch("framework_option", [site], edits, notes)


def _leaves_open(context: Context, node: ast.expr, keyword: str) -> bool:
    """Whether a dictionary that is unpacked is made in this file, key by key, and never holds the keyword."""
    script = context.script
    if not isinstance(node, ast.Name):
        return False
    bindings = script.bindings(node.id, node)
    keys: list[ast.expr | None] = []
    for binding in bindings:
        if binding.kind != "assign" or binding.index is not None or not isinstance(binding.value, ast.Dict):
            return False
        keys += binding.value.keys
    for other in (n for n in script.nodes if isinstance(n, ast.Name) and n.id == node.id):
        if script.bindings(other.id, other) is not bindings or not isinstance(other.ctx, ast.Load):
            continue
        above = script.parents[other]
        if isinstance(above, ast.Subscript):
            keys.append(above.slice)
        elif not (isinstance(above, ast.keyword) and above.arg is None):
            return False
    return bool(bindings) and all(isinstance(k, ast.Constant) and k.value != keyword for k in keys)


def _value(context: Context, option: Option, call: ast.Call) -> tuple[str, list[Edit], list[str]]:
    """The option's value for the precision wanted, with the settings it needs at module level."""
    wish = context.wishes.precision
    closure = next((c for c in context.script.calls if context.script.called(c) == "torch.optim.LBFGS"), None)
    if closure is not None and wish == "fp16":
        raise Declined(closure.lineno, "closure", "a scaler cannot step LBFGS, so no fp16")
    if option.bf16 is None:
        if wish == "bf16":
            raise Declined(call.lineno, "framework_has_no_bf16", f"{option.keyword} offers fp16 only")
        return option.fp16 or "", [], []
    if wish == "bf16" or closure is not None:
        return option.bf16, [], []
    if wish == "fp16":
        return option.fp16 or "", [], []
    name, edits = bf16_name(context)
    return f"{option.bf16} if {name} else {option.fp16}", edits, []


def bf16_name(context: Context, cpu: bool = True) -> tuple[str, list[Edit]]:
    name = free_name(context.script, "amp_bf16")
    torch = context.script.torch_name() or "torch"
    native = f"{torch}.cuda.is_bf16_supported(including_emulation=False)"
    text = f"not {torch}.cuda.is_available() or {native}" if cpu else native
    lines = [] if context.script.torch_name() else ["import torch", ""]
    return name, [header(context.script, [*lines, f"{name} = {text}  # older GPUs take fp16"])]


def training_arguments(context: Context) -> Patch | None:
    """Hugging Face's TrainingArguments and what derives from it."""
    script = context.script
    calls = [c for c in script.calls if script.called(c) in TRAINING_ARGUMENTS]
    return merged([_training_arguments(context, c) for c in calls]) if calls else None


def _training_arguments(context: Context, call: ast.Call) -> Patch:
    name, wish = context.script.called(call), context.wishes.precision
    given = {k.arg: k.value for k in call.keywords}
    for key in ("bf16", "fp16"):
        value = given.get(key)
        if value is not None and ast.unparse(value) not in ("False", "None"):
            note = f"{name} has {key}={ast.unparse(value)}"
            return Patch("already", [Site(value.lineno, REMEDY, "keep", "already", note)])
    if None in given:
        raise Declined(
            call.lineno, "framework_flag", f"{name} takes its options from a dictionary: set bf16 there"
        )
    edits: list[Edit] = []
    values = {"bf16": {"bf16": "True"}, "fp16": {"fp16": "True"}}.get(wish)
    if values is None:
        flag, edits = bf16_name(context, cpu=False)
        torch = context.script.torch_name() or "torch"
        values = {"bf16": flag, "fp16": f"{torch}.cuda.is_available() and not {flag}"}
    missing = [f"{key}={text}" for key, text in values.items() if key not in given]
    edits += [
        Span(context.script.start(given[key]), context.script.end(given[key]), text)
        for key, text in values.items()
        if key in given
    ]
    if missing:
        edits.append(further_argument(context.script, call, ", ".join(missing)))
    site = Site(call.lineno, REMEDY, "edit", "framework_option", f"{name}'s own option")
    return Patch("framework_option", [site], edits)


def merged(patches: list[Patch]) -> Patch:
    """One patch of several; settings that they share are put in once."""
    edited = [p for p in patches if p.outcome == "framework_option"] or patches
    edits: list[Edit] = []
    for patch in edited:
        edits += [e for e in patch.edits if e not in edits]
    return Patch(edited[0].outcome, [s for p in patches for s in p.sites], edits, edited[0].warnings)

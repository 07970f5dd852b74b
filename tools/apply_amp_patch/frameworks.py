"""Frameworks that own the training loop: recognised by import, patched through their own option."""

import ast
from dataclasses import dataclass

from .arguments import further_argument
from .context import Context
from .edits import Edit, Span
from .patch import Declined, Patch, Site
from .prelude import free_name, header

_REMEDY = "mixed_precision"


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
_LEARNERS = {
    "Learner",
    "vision_learner",
    "cnn_learner",
    "unet_learner",
    "tabular_learner",
    "text_classifier_learner",
    "language_model_learner",
    "collab_learner",
}
_SKORCH = (
    "skorch.NeuralNet",
    "skorch.classifier.NeuralNet",
    "skorch.regressor.NeuralNet",
    "skorch.net.NeuralNet",
)
_FLAG_PARSERS = {
    "transformers.HfArgumentParser": "--bf16 or --fp16",
    "trl.TrlParser": "--bf16 or --fp16",
    "lightning.pytorch.cli.LightningCLI": "--trainer.precision=bf16-mixed",
    "pytorch_lightning.cli.LightningCLI": "--trainer.precision=bf16-mixed",
    "pytorch_lightning.utilities.cli.LightningCLI": "--trainer.precision=bf16-mixed",
}
_ELSEWHERE = {
    "pytorch_lightning.LightningModule": "the Trainer that runs this module",
    "lightning.LightningModule": "the Trainer that runs this module",
    "lightning.pytorch.LightningModule": "the Trainer that runs this module",
    "pytorch_lightning.core.LightningModule": "the Trainer that runs this module",
}


def framework_option(context: Context) -> Patch | None:
    """The framework's own switch set, or why not; None where no framework owns the loop."""
    for propose in (_constructors, _arguments, _fastai, _deepspeed, _skorch, _flags, _elsewhere):
        found = propose(context)
        if found is not None:
            return found
    return None


def _constructors(context: Context) -> Patch | None:
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
    return _merged(patches)


def _set(context: Context, call: ast.Call, option: Option) -> Patch:
    given = next((k for k in call.keywords if k.arg == option.keyword), None)
    name = context.script.called(call)
    if given is not None and ast.unparse(given.value) not in option.off:
        if isinstance(given.value, ast.Constant):
            note = f"{name} has {option.keyword}={ast.unparse(given.value)}"
        else:
            note = f"{name} takes {option.keyword} from {ast.unparse(given.value)}: set it there"
        return Patch("already", [Site(given.value.lineno, _REMEDY, "keep", "already", note)])
    if given is None and any(k.arg is None for k in call.keywords):
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
    site = Site(call.lineno, _REMEDY, "edit", "framework_option", f"{name}'s own option {option.keyword}")
    return Patch("framework_option", [site], edits, notes)


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
    name, edits = _bf16_name(context)
    return f"{option.bf16} if {name} else {option.fp16}", edits, []


def _bf16_name(context: Context, cpu: bool = True) -> tuple[str, list[Edit]]:
    name = free_name(context.script, "amp_bf16")
    torch = context.script.torch_name() or "torch"
    native = f"{torch}.cuda.is_bf16_supported(including_emulation=False)"
    text = f"not {torch}.cuda.is_available() or {native}" if cpu else native
    lines = [] if context.script.torch_name() else ["import torch", ""]
    return name, [header(context.script, [*lines, f"{name} = {text}  # older GPUs take fp16"])]


def _arguments(context: Context) -> Patch | None:
    """Hugging Face's TrainingArguments and what derives from it."""
    script = context.script
    calls = [c for c in script.calls if script.called(c) in TRAINING_ARGUMENTS]
    return _merged([_training_arguments(context, c) for c in calls]) if calls else None


def _training_arguments(context: Context, call: ast.Call) -> Patch:
    name, wish = context.script.called(call), context.wishes.precision
    given = {k.arg: k.value for k in call.keywords}
    for key in ("bf16", "fp16"):
        value = given.get(key)
        if value is not None and ast.unparse(value) not in ("False", "None"):
            note = f"{name} has {key}={ast.unparse(value)}"
            return Patch("already", [Site(value.lineno, _REMEDY, "keep", "already", note)])
    if None in given:
        raise Declined(
            call.lineno, "framework_flag", f"{name} takes its options from a dictionary: set bf16 there"
        )
    edits: list[Edit] = []
    values = {"bf16": {"bf16": "True"}, "fp16": {"fp16": "True"}}.get(wish)
    if values is None:
        flag, edits = _bf16_name(context, cpu=False)
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
    site = Site(call.lineno, _REMEDY, "edit", "framework_option", f"{name}'s own option")
    return Patch("framework_option", [site], edits)


def _fastai(context: Context) -> Patch | None:
    script = context.script
    star = any(s.startswith("fastai") for s in script.star_imports)
    calls = []
    for call in script.calls:
        name = script.called(call) or ""
        bare = isinstance(call.func, ast.Name) and call.func.id in _LEARNERS
        if (name.startswith("fastai") and name.split(".")[-1] in _LEARNERS) or (
            star and bare and not script.bindings(call.func.id, call.func)  # type: ignore[attr-defined]
        ):
            calls.append(call)
    if not calls:
        return None
    method = "to_bf16" if context.wishes.precision == "bf16" else "to_fp16"
    sites, edits = [], []
    for call in calls:
        above = script.parents[call]
        if isinstance(above, ast.Attribute) and above.attr in ("to_fp16", "to_bf16"):
            sites.append(Site(call.lineno, _REMEDY, "keep", "already", f".{above.attr}() is there"))
            continue
        edits.append(Span(script.end(call), script.end(call), f".{method}()"))
        sites.append(Site(call.lineno, _REMEDY, "edit", "framework_option", f"fastai's own .{method}()"))
    chained = script.method_calls("to_fp16") + script.method_calls("to_bf16")
    if edits and any(not isinstance(c.func.value, ast.Call) for c in chained):  # type: ignore[attr-defined]
        return Patch(
            "already",
            [Site(chained[0].lineno, _REMEDY, "keep", "already", "the learner is set to fp16 later")],
        )
    return Patch("framework_option" if edits else "already", sites, list(edits))


def _deepspeed(context: Context) -> Patch | None:
    script = context.script
    call = next((c for c in script.calls if script.called(c) == "deepspeed.initialize"), None)
    if call is None:
        return None
    config = next((k.value for k in call.keywords if k.arg in ("config", "config_params")), None)
    if isinstance(config, ast.Name):
        values = [b.value for b in script.bindings(config.id, config)]
        config = values[0] if len(values) == 1 else config
    if not isinstance(config, ast.Dict) or any(k is None for k in config.keys):
        raise Declined(
            call.lineno,
            "framework_config",
            'DeepSpeed reads its precision from the configuration: "bf16": {"enabled": true}',
        )
    key = "fp16" if context.wishes.precision == "fp16" else "bf16"
    for name, value in zip(config.keys, config.values, strict=True):
        if isinstance(name, ast.Constant) and name.value in ("fp16", "bf16", "amp"):
            note = f'DeepSpeed\'s configuration has "{name.value}": {ast.unparse(value)}'
            if "False" not in ast.unparse(value):
                return Patch("already", [Site(name.lineno, _REMEDY, "keep", "already", note)])
            if name.value == key:
                edit = Span(script.start(value), script.end(value), '{"enabled": True}')
                site = Site(name.lineno, _REMEDY, "edit", "framework_option", note)
                return Patch("framework_option", [site], [edit])
    if not config.values:
        raise Declined(config.lineno, "framework_config", "DeepSpeed's configuration is filled elsewhere")
    last = config.values[-1]
    first = config.keys[-1]
    assert first is not None
    alone = not script.text[script.line_starts[first.lineno - 1] : script.start(first)].strip()
    separator = f",\n{script.indentation(first.lineno)}" if alone else ", "
    edit = Span(script.end(last), script.end(last), f'{separator}"{key}": {{"enabled": True}}')
    site = Site(config.lineno, _REMEDY, "edit", "framework_option", f'DeepSpeed\'s own option "{key}"')
    return Patch("framework_option", [site], [edit])


def _skorch(context: Context) -> Patch | None:
    script = context.script
    calls = [c for c in script.calls if (script.called(c) or "").startswith(_SKORCH)]
    if not calls:
        return None
    sites: list[Site] = []
    edits: list[Edit] = []
    chosen: list[Edit] = []
    value = {"bf16": '"bf16"', "fp16": '"fp16"'}.get(context.wishes.precision)
    if value is None:
        name, chosen = _bf16_name(context)
        value = f'"bf16" if {name} else "fp16"'
    names = sorted({script.code(c.func) for c in calls})
    lines = ["from accelerate import Accelerator", "from skorch.hf import AccelerateMixin", ""]
    for name in names:
        fresh = free_name(script, f"Accelerated{name.split('.')[-1]}")
        lines += ["", f"class {fresh}(AccelerateMixin, {name}):", '    """Trains in mixed precision."""', ""]
        for call in (c for c in calls if script.code(c.func) == name):
            edits.append(Span(script.start(call.func), script.end(call.func), fresh))
            edits += [
                Span(script.start(k.value), script.end(k.value), "None")
                for k in call.keywords
                if k.arg == "device"
            ]
            edits.append(
                further_argument(context.script, call, f"accelerator=Accelerator(mixed_precision={value})")
            )
            sites.append(Site(call.lineno, _REMEDY, "edit", "framework_option", "skorch's AccelerateMixin"))
    edits += [header(script, lines), *chosen]
    return Patch("framework_option", sites, edits, ["skorch's mixed precision needs the package accelerate"])


def _flags(context: Context) -> Patch | None:
    """Scripts that already offer the framework's switch on their command line."""
    script = context.script
    for call in script.calls:
        flag = _FLAG_PARSERS.get(script.called(call) or "")
        if flag:
            note = f"the script takes the framework's own flag: {flag}"
            return Patch("already", [Site(call.lineno, _REMEDY, "keep", "framework_flag", note)])
    return None


def _elsewhere(context: Context) -> Patch | None:
    """Modules of a framework whose trainer lives in another file."""
    for holder in context.script.classes:
        for name in context.roles.base_names(holder):
            if name in _ELSEWHERE:
                raise Declined(holder.lineno, "framework_elsewhere", f"set precision at {_ELSEWHERE[name]}")
    return None


def _merged(patches: list[Patch]) -> Patch:
    """One patch of several; settings that they share are put in once."""
    edited = [p for p in patches if p.outcome == "framework_option"] or patches
    edits: list[Edit] = []
    for patch in edited:
        edits += [e for e in patch.edits if e not in edits]
    return Patch(edited[0].outcome, [s for p in patches for s in p.sites], edits, edited[0].warnings)

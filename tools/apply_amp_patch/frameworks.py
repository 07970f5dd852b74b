"""Frameworks that own the training loop: recognised by import, patched through their own option."""

import ast

from .context import Context
from .edits import Span
from .framework_options import REMEDY, TRAINING_ARGUMENTS, constructors, training_arguments
from .framework_wrappers import fastai, skorch
from .patch import Declined, Patch, Site

__all__ = ["TRAINING_ARGUMENTS", "framework_option"]

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
    for propose in (constructors, training_arguments, fastai, _deepspeed, skorch, _flags, _elsewhere):
        found = propose(context)
        if found is not None:
            return found
    return None


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
                return Patch("already", [Site(name.lineno, REMEDY, "keep", "already", note)])
            if name.value == key:
                edit = Span(script.start(value), script.end(value), '{"enabled": True}')
                site = Site(name.lineno, REMEDY, "edit", "framework_option", note)
                return Patch("framework_option", [site], [edit])
    if not config.values:
        raise Declined(config.lineno, "framework_config", "DeepSpeed's configuration is filled elsewhere")
    last = config.values[-1]
    first = config.keys[-1]
    assert first is not None
    alone = not script.text[script.line_starts[first.lineno - 1] : script.start(first)].strip()
    separator = f",\n{script.indentation(first.lineno)}" if alone else ", "
    edit = Span(script.end(last), script.end(last), f'{separator}"{key}": {{"enabled": True}}')
    site = Site(config.lineno, REMEDY, "edit", "framework_option", f'DeepSpeed\'s own option "{key}"')
    return Patch("framework_option", [site], [edit])


def _flags(context: Context) -> Patch | None:
    """Scripts that already offer the framework's switch on their command line."""
    script = context.script
    for call in script.calls:
        flag = _FLAG_PARSERS.get(script.called(call) or "")
        if flag:
            note = f"the script takes the framework's own flag: {flag}"
            return Patch("already", [Site(call.lineno, REMEDY, "keep", "framework_flag", note)])
    return None


def _elsewhere(context: Context) -> Patch | None:
    """Modules of a framework whose trainer lives in another file."""
    for holder in context.script.classes:
        for name in context.roles.base_names(holder):
            if name in _ELSEWHERE:
                raise Declined(holder.lineno, "framework_elsewhere", f"set precision at {_ELSEWHERE[name]}")
    return None

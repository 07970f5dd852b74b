"""A torch model in, an ONNX file with a dynamic batch out, checked against eager torch at a second batch size.

Nothing here unpickles with code execution: state dicts load with weights_only, torch.export programs after their
members were scanned and with TORCH_FORCE_WEIGHTS_ONLY_LOAD set. A factory is the caller's code; it is imported.
"""

import contextlib
import io
import logging
import os
import warnings

import numpy as np

from . import npz, rows
from .agree import as_fed, compare
from .refusal import Refused, first_line

OLDEST_TORCH = (2, 10)  # CVE-2026-24747: weights_only before 2.10 could be made to run code
EXPORT_BATCH = 2  # a batch of one may be specialised away
SEQUENCE = "sequence"  # the second axis of token inputs is left free
OPSET = 20
WRAPPERS = ("module.", "_orig_mod.")


def export(request, progress):
    """Write model.onnx, and program.pt2 for torch's own compiler; the reply says which exporter did it."""
    torch = import_torch()
    torch.set_num_threads(request["threads"])
    model = load_model(request)
    arrays = npz.head(request["data"], EXPORT_BATCH + 1)  # one more than the export sees: agree.compare
    names = _input_names(model, arrays)
    examples = [torch.from_numpy(np.ascontiguousarray(as_fed(arrays[name][:EXPORT_BATCH]))) for name in names]
    path = os.path.join(request["folder"], "exported.onnx")
    program, reply = _export_checked(model, examples, names, arrays, path)
    reply["program"] = os.path.join(request["folder"], "program.pt2") if program else None
    if program:
        torch.export.save(program, reply["program"])
    reply["torch"] = torch.__version__
    return reply


def _export_checked(model, examples, names, arrays, path):
    """Program and reply; token sequences of any length where the file keeps agreeing with eager torch there."""
    lengths = [SEQUENCE, None] if any(_is_tokens(example) for example in examples) else [None]
    problems = []
    for length in lengths:
        program, problem = to_program(model, examples, length)
        reply = to_onnx(program or model, examples, names, path)
        problems += problem + reply["problems"]
        try:
            reply["eager_gap"] = compare(model, path, names, arrays)
        except Refused as refused:
            if length is None:
                raise
            problems.append("sequence length fixed: " + refused.reply["problem"])
            continue
        return program, {**reply, "problems": problems}
    raise AssertionError("the last length raises or returns")


def _is_tokens(example):
    """Rows of token numbers or of their mask: integers or booleans along one axis."""
    return example.ndim == 2 and not example.is_floating_point()


def import_torch():
    import torch

    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < OLDEST_TORCH:
        raise Refused(
            "This torch may run code when it loads weights (CVE-2026-24747)",
            torch.__version__,
            "torch 2.10 or newer",
        )
    logging.disable(logging.WARNING)
    return torch


def load_model(request):
    """The caller's model in eval mode."""
    return _LOADERS[request["kind"]](request).eval()


def _factory(request):
    import torch

    build = rows.import_function(request["file"], request["function"], request["root"])
    try:
        model = build()
    except Exception as error:  # the caller's code may raise anything
        raise Refused(
            "The factory {} failed".format(request["function"]), first_line(error), "calling it by hand"
        ) from error
    if not isinstance(model, torch.nn.Module):
        raise Refused(
            "The factory returns no torch module", type(model).__name__, "a function that returns the model"
        )
    if request.get("weights"):
        load_weights(model, request["weights"])
    return model


def load_weights(model, path):
    """Strictly load a state dict from .safetensors or a weights-only checkpoint."""
    import torch

    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle and safetensors errors share no base
        raise Refused(
            "The weights do not load as plain tensors",
            _blocked(error),
            "torch.save(model.state_dict(), path), or safetensors",
        ) from error
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    _refuse_strange(state, torch.Tensor)
    bad = [
        name for name, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if bad:
        raise Refused(
            "The weights hold NaN or infinity", bad[0], "a checkpoint from before training diverged"
        )
    try:
        model.load_state_dict(_unwrapped(state, model.state_dict()), strict=True)
    except RuntimeError as error:
        told = [line.strip() for line in str(error).splitlines()[1:3]]
        raise Refused(
            "The weights do not fit the factory's model", " ".join(told), "the factory they were trained with"
        ) from error


def _refuse_strange(state, tensor):
    """What is no mapping of names to tensors; torch's own int8 layers keep packed weights instead."""
    if not isinstance(state, dict):
        raise Refused(
            "The weights are no state dict", type(state).__name__, "torch.save(model.state_dict(), path)"
        )
    strange = [name for name, value in state.items() if not isinstance(value, tensor) or value.is_quantized]
    if any("_packed_params" in str(name) or isinstance(state[name], tensor) for name in strange):
        raise Refused(
            "The model is quantized already", strange[0], "the float checkpoint that it was made from"
        )
    if strange:
        raise Refused(
            "The weights hold more than tensors", strange[0], "torch.save(model.state_dict(), path)"
        )


def _unwrapped(state, wanted):
    """Without what DistributedDataParallel and torch.compile put before every name, unless the model has it too."""
    for _ in WRAPPERS:
        for prefix in WRAPPERS:
            if state.keys() != wanted.keys() and all(name.startswith(prefix) for name in state):
                state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _blocked(error):
    """The refused global from torch's long message, or its first line."""
    for line in str(error).splitlines():
        if "GLOBAL" in line or "global" in line:
            return line.strip()
    return first_line(error)


def _program(request):
    import torch

    try:
        return _Unlifted(torch.export.load(request["file"]).module())
    except Exception as error:  # the deserializer raises its own SerializeError and others
        raise Refused(
            "The torch.export program does not load", first_line(error), "exporting it again with this torch"
        ) from error


def _Unlifted(module):
    """An exported program's module; it is fixed in eval mode and refuses the call."""
    module.eval = lambda: module
    return module


def _torchscript(request):
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return torch.jit.load(request["file"], map_location="cpu")
        except Exception as error:  # RuntimeError from C++, and others
            raise Refused(
                "The TorchScript file does not load", first_line(error), "the factory and a state dict"
            ) from error


_LOADERS = {"factory": _factory, "pt2": _program, "torchscript": _torchscript}


def _input_names(model, arrays):
    """The data's arrays in the order of forward's parameters; one input may be called x."""
    import inspect

    if not len(arrays.get("y", ())):
        raise Refused("The data has no array 'y', or no rows", ", ".join(arrays) or "none", "arrays x and y")
    others = [name for name in arrays if name != "y"]
    if len(others) == 1:
        return others
    try:
        wanted = [n for n in inspect.signature(model.forward).parameters if n in arrays]
    except (TypeError, ValueError):
        wanted = []
    if not wanted:
        raise Refused(
            "The data's arrays do not name the model's inputs",
            ", ".join(others),
            "arrays named like forward's parameters, and y",
        )
    return wanted


def to_program(model, examples, length=None):
    """The model as a torch.export program with a dynamic batch (and token axis with SEQUENCE), or None and why."""
    import torch

    if isinstance(model, torch.jit.ScriptModule):
        return None, []
    program, problem = _try_export(model, examples, torch.export.Dim("batch", min=1, max=65536), length)
    if program is not None:
        return program, []
    program, second = _try_export(model, examples, torch.export.Dim.AUTO, length)
    return program, [found for found in (problem, second) if found]


def _try_export(model, examples, dimension, length):
    import torch

    free = {1: torch.export.Dim.AUTO} if length else {}
    shapes = tuple({0: dimension, **(free if _is_tokens(example) else {})} for example in examples)
    try:
        return torch.export.export(model, tuple(examples), dynamic_shapes=shapes), None
    except Exception as error:  # torch.export raises from a dozen places
        return None, "torch.export: " + _cause(error)


def to_onnx(model, examples, names, path):
    """Export a program or module with a dynamic batch; the older exporter where the first refuses."""
    import torch

    dynamo = {"dynamo": True, "opset_version": OPSET}
    if isinstance(model, torch.nn.Module):
        dynamo["dynamic_shapes"] = tuple({0: torch.export.Dim.AUTO} for _ in examples)
    axes = {name: {0: "batch"} for name in [*names, "output"]}
    attempts = [
        ("dynamo", dynamo),
        ("torchscript", {"dynamo": False, "dynamic_axes": axes, "opset_version": 17}),
    ]
    if isinstance(model, torch.jit.ScriptModule):
        attempts = attempts[1:]
    problems = []
    for label, settings in attempts:
        source = (
            model.module() if label == "torchscript" and not isinstance(model, torch.nn.Module) else model
        )
        try:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    source, tuple(examples), path, input_names=names, output_names=["output"],
                    external_data=False, verbose=False, **settings
                )  # fmt: skip
            return {"path": path, "exporter": label, "problems": problems}
        except Exception as error:  # exporters wrap anything
            problems.append(f"{label}: {_cause(error)}")
    raise Refused("The model does not export to ONNX", problems[0], "an ONNX file exported by you")


def _cause(error):
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)

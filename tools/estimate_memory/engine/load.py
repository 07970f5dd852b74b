"""Finds the caller's make_step, calls it, and checks what comes back."""

import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping

import torch

from . import caveats
from .fake import Declined

NEEDED = ("model", "batch", "loss", "optimizer")
OPTIONAL = ("accumulation_steps", "step")
_MODULE = "make_step_of_the_caller"


def load(step):
    """The function named by "file.py:function"."""
    path, _, name = step.rpartition(":")
    folder = os.path.dirname(os.path.realpath(path))
    if folder != os.path.dirname(
        os.path.realpath(__file__)
    ):  # else `import kernels` of a library would find ours
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    if spec is None:
        raise Declined("The step's file must be a Python file", os.path.basename(path), "train.py:make_step")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        place = f"line {error.lineno}: " if error.lineno else ""
        raise Declined("The step's file is no valid Python", place + error.msg, "mending it") from error
    except BaseException as error:
        raise failed("The step's file fails on import", error, path) from error
    function = getattr(module, name, None)
    if not callable(function):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise Declined(f"The file defines no function {name!r}", f"functions {known}", "file.py:make_step")
    return function


def accepts(function, name):
    """Whether the function takes an argument of this name."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def default_of(function, name):
    """The default of an argument, or None."""
    parameter = inspect.signature(function).parameters.get(name)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def build(function, arguments):
    """What make_step returns, checked."""
    for name in arguments:
        if not accepts(function, name):
            known = list(inspect.signature(function).parameters)
            raise Declined("make_step has no such argument", name, f"one of {known}")
    try:
        made = function(**arguments)
    except (Exception, SystemExit) as error:
        raise failed("make_step raised", error) from error
    return _checked(made)


def _checked(made):
    if not isinstance(made, Mapping):
        raise Declined(
            "make_step must return a mapping", type(made).__name__, f"a dict with {', '.join(NEEDED)}"
        )
    missing = [name for name in NEEDED if name not in made and name != "optimizer" and "step" not in made]
    if missing:
        raise Declined(f"make_step's mapping lacks {', '.join(missing)}", sorted(map(str, made)), f"{NEEDED}")
    if not isinstance(made["model"], torch.nn.Module):
        raise Declined("`model` must be a torch.nn.Module", type(made["model"]).__name__, "the module itself")
    if "step" not in made and not callable(made["loss"]):
        raise Declined(
            "`loss` must be callable as loss(model, batch)", type(made["loss"]).__name__, "a function"
        )
    optimizer = made.get("optimizer")
    if optimizer is not None and not callable(getattr(optimizer, "step", None)):
        raise Declined(
            "`optimizer` must have a step() or be None", type(optimizer).__name__, "a torch optimizer"
        )
    return dict(made)


def failed(problem, error, path=None):
    """The caller's exception as one sentence, with the innermost line of their own file."""
    if isinstance(error, Declined):
        return error
    line = line_in_callers_file(error)
    text = str(error).strip().splitlines()
    message = f"{type(error).__name__}: {text[0] if text else ''}"[:200]
    advice = _advice(error)
    return Declined(f"{problem}{f' at {line}' if line else ''}", message, advice)


_STANDARD_LIBRARY = os.path.dirname(os.__file__).replace("\\", "/") + "/"


def is_a_script(path):
    """Whether a file, with forward slashes, belongs to no library and not to this engine."""
    library = "-packages/" in path or "/torch/" in path or path.startswith(("<", _STANDARD_LIBRARY))
    return not library and "/estimate_memory/engine/" not in path and not path.endswith("/_core/child.py")


def line_in_callers_file(error):
    """file:line where an exception passed last through a script's own code, else through a library's, or None."""
    found = {False: None, True: None}
    trace = error.__traceback__
    while trace is not None:
        path = trace.tb_frame.f_code.co_filename.replace("\\", "/")
        if "/estimate_memory/engine/" not in path and "/torch/" not in path and not path.startswith("<"):
            found[not is_a_script(path)] = f"{os.path.basename(path)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found[False] or found[True]


_OF_PROCESSES = ("process group", "rendezvous", "FSDP", "NCCL")


def _advice(error):
    name, text = type(error).__name__, str(error)
    if "your own can" in text:  # as huggingface.py says it
        return "a Python file with make_step"
    if isinstance(error, TypeError) and "missing" in text and "required positional argument" in text:
        return "defaults for them, or `arguments` where make_step takes them"
    if isinstance(error, FileNotFoundError):
        return "random tensors of the same shape instead of data files: values do not matter, shapes do"
    if isinstance(error, ModuleNotFoundError) and "transformers" in text:
        return "`pip install transformers` there, or `python` set to an environment that has it"
    if isinstance(error, ModuleNotFoundError):
        return "`python` set to the interpreter of your training environment"
    if "from the 'CUDA' backend" in text:
        return "a CUDA build of torch in `python`, which has this operator; or `gpu` cpu"
    if "SparseTensorImpl" in text:
        return "sparse=False, an upper bound: sparse tensors and gradients cannot be simulated"
    if name == "DynamicOutputShapeException":
        return f"a version without {error.func}, whose output size depends on values"
    if name == "DataDependentOutputException":
        return f"a version without {error.func}, which reads values"
    if name == "UnsupportedOperatorException" or "fake impl" in text or "Meta" in text:
        return "a step without that custom operator, or a fake kernel for it (torch.library.register_fake)"
    if isinstance(error, MemoryError):
        return "torch.empty of the same shapes instead: values do not matter, and memory is limited here"
    if "CUDA_HOME" in text or "nvcc" in text or "CUDAExtension" in text:
        return "a step without the CUDA extension, which cannot be built here and has no fake kernel"
    if any(word in text for word in _OF_PROCESSES):
        return "the bare module, without torch.distributed: several processes cannot be simulated"
    if "active drivers" in text or "libcuda.so" in text:
        return "a step whose Triton code does not ask for the driver: kernels themselves need none here"
    if "data_ptr" in text or "not allocated yet" in text or "numpy" in text.lower():
        return "a step that stays in torch: these tensors have shapes, but no data"
    if name == "FakeTensorDeviceMismatchError" or "two different devices" in text:
        return 'device "cuda" where it names "cpu": the step is simulated on a card; or `gpu` cpu'
    if "new Tensor subclass" in text:
        return "plain tensors: classes derived from Tensor cannot be simulated"
    if reads := [operation for operation in caveats.found if operation.startswith("value of")]:
        return f"constants instead of the {reads[0]}, which has none here, if it works when run by hand"
    return "running make_step by hand in that environment"

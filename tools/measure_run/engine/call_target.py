"""Calls one function of the caller's again and again and takes the time: `python call_target.py SETTINGS`.

SETTINGS is a JSON file: path, function, batch_sizes, max_calls, max_seconds, reply. Python 3.9 syntax, standard library
only. A function with a parameter `batch_size` is called with each of the batch sizes, another one without arguments.
"""

import asyncio
import collections
import importlib.util
import inspect
import json
import os
import sys
import time

_WARM_UP = 3  # calls after the first one that are not counted


def load(path, name):
    """The function, or None when the file has none of that name; what the file raises is the caller's to see."""
    sys.path[0] = os.path.dirname(path)
    spec = importlib.util.spec_from_file_location(os.path.splitext(os.path.basename(path))[0], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return getattr(module, name, None)


def timed(function, arguments):
    """Seconds of one call, with everything it yields or awaits and everything it queued on a GPU."""
    start = time.perf_counter()
    result = function(**arguments)
    if inspect.isgenerator(result):
        collections.deque(result, maxlen=0)
    elif inspect.iscoroutine(result):
        asyncio.run(result)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(function, arguments, max_calls, max_seconds):
    """The first call, which loads what it needs; then as many as the limits allow (one at least)."""
    first = timed(function, arguments)
    began = time.perf_counter()
    for _ in range(_WARM_UP):
        if time.perf_counter() - began < max_seconds / 2:
            timed(function, arguments)
    seconds = [timed(function, arguments)]
    while len(seconds) < max_calls and time.perf_counter() - began < max_seconds:
        seconds.append(timed(function, arguments))
    return {"first_seconds": first, "seconds": seconds}


def keep_to(threads):
    """Run on that many processors: libraries that read no variable count those they may use (ONNX Runtime)."""
    if threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        settings = json.load(file)
    keep_to(int(os.environ.get("OPTIMIZING_RESOURCES_THREADS", "0")))
    function = load(settings["path"], settings["function"])
    sizes, refused = [None], None
    if not callable(function):
        refused = "The file has no such function"
    else:
        parameters = inspect.signature(function).parameters
        sizes = settings["batch_sizes"] if "batch_size" in parameters else [None]
        required = [p.name for p in parameters.values() if p.default is p.empty and p.kind in (0, 1, 3)]
        if set(required) - {"batch_size"}:
            refused = "The function wants more arguments than batch_size: " + ", ".join(required)
    calls = []
    for size in [] if refused else sizes:
        arguments = {} if size is None else {"batch_size": size}
        share = settings["max_seconds"] / len(sizes)
        calls.append({"batch_size": size, **measure(function, arguments, settings["max_calls"], share)})
        with open(settings["reply"], "w", encoding="utf-8") as file:
            json.dump({"calls": calls}, file)
    if refused:
        with open(settings["reply"], "w", encoding="utf-8") as file:
            json.dump({"refused": refused}, file)


main()

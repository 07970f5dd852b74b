"""`python memory_requests.py REQUESTS.json`: the engine's replies to many requests, each in a forked process.

Torch is loaded once; the last line is a JSON list of replies.
"""

import importlib
import json
import multiprocessing
import sys
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

CARD = {
    "name": "test card", "memory_bytes": 24 << 30, "capability": [8, 0], "bf16": True, "cublas_bytes": 8519680,
    "expandable_segments": False, "caching": True, "half_flops": 1e14, "single_flops": 2e13, "bandwidth": 1e12,
}  # fmt: skip
DEFAULTS = {"arguments": {}, "batch_argument": None, "model_arguments": [], "kind": "cuda", "card": CARD,
            "limits": None, "remedies": []}  # fmt: skip


def reply_to(request, pipe):
    simulate = importlib.import_module("optimizing_resources.tools.estimate_memory.engine.simulate")
    pipe.send(simulate.answer({**DEFAULTS, **request}, lambda done, total, note: None))


def main():
    importlib.import_module("optimizing_resources.tools.estimate_memory.engine.simulate")
    with FakeTensorMode():
        torch.ones(1) * 2  # loads what torch loads late, once, before the forks
    context = multiprocessing.get_context("fork")
    replies = []
    for request in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        here, there = context.Pipe()
        child = context.Process(target=reply_to, args=(request, there))
        child.start()
        there.close()
        try:
            replies.append(here.recv())
        except EOFError:
            replies.append({"died": True})
        child.join()
    print(json.dumps(replies))


if __name__ == "__main__":
    main()

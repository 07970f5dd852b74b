"""Prints a sample call as the Inspector's `--tool-arg name=value ...`, NUL-separated."""

import json
import sys
from pathlib import Path

calls, tool = sys.argv[1:]
sample = json.loads(Path(calls).read_text(encoding="utf-8"))[tool]
if tool == "estimate_memory":
    sample[
        "remedies"
    ] = []  # the Inspector waits a minute for an answer; a search takes longer on a busy machine
words = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in sample.items()]
print(*(["--tool-arg", *words] if words else []), sep="\0", end="\0" if words else "")

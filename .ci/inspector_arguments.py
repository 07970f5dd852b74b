"""Prints a sample call as the Inspector's `--tool-arg name=value ...`, NUL-separated."""

import json
import sys
from pathlib import Path

calls, tool = sys.argv[1:]
pairs = json.loads(Path(calls).read_text(encoding="utf-8"))[tool].items()
words = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in pairs]
print(*(["--tool-arg", *words] if words else []), sep="\0", end="\0" if words else "")

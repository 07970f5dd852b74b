"""The targets of fuzz.py, guided by coverage.

    .venv/bin/python -m pip install --target build/atheris atheris==3.0.0
    PYTHONPATH=build/atheris:benchmarks .venv/bin/python benchmarks/fuzz_guided.py TARGET [inputs] [seconds]

Slower by an order of magnitude, and deeper: inputs that reach new lines are kept in build/fuzz/TARGET for the session.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["optimizing_resources.tools"]):
    from fuzz_targets import ROOT, TARGETS, seeds


def main(name: str, inputs: int, seconds: int) -> None:
    """Run libFuzzer over the corpus, the seeds, and what it finds."""
    found, starts = ROOT / "build/fuzz" / name, Path(tempfile.mkdtemp())
    found.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (starts / str(number)).write_bytes(seed)
    flags = [
        f"-runs={inputs}", f"-max_total_time={seconds}", "-timeout=2", "-rss_limit_mb=1000", "-max_len=2048",
        f"-artifact_prefix={found}/", "-print_final_stats=1",
    ]  # fmt: skip
    corpus = ROOT / "benchmarks/corpus" / name
    atheris.Setup([sys.argv[0], *flags, str(found), str(corpus), str(starts)], lambda data: void(name, data))
    atheris.Fuzz()


def void(name: str, data: bytes) -> None:
    """libFuzzer wants no answer."""
    TARGETS[name](data)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100_000, int((sys.argv[3:] or ["3600"])[0]))

"""Coverage-guided fuzzing of what reads the caller's input in the server's own process.

    .venv/bin/python -m pip install --target build/fuzz atheris==3.0.0
    PYTHONPATH=build/fuzz .venv/bin/python benchmarks/fuzz_parsers.py TARGET [inputs] [seconds]

Targets: text (pasted into triage_constraint), log (a file for it), script (a script for it), request (the arguments of
every tool). A finding is any exception but ToolError, an input that takes over 2 s, or memory over 500 MB. The corpus
of inputs that reached new lines is kept under benchmarks/corpus/TARGET; a finding is written beside it as crash-*.
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["optimizing_resources.tools"]):
    from optimizing_resources.tools import load_tools
    from optimizing_resources.tools._core.contract import CALL, Call, ToolError, input_schema, read
    from optimizing_resources.tools._core.workspace import Workspace
    from optimizing_resources.tools.triage_constraint import TriageConstraintRequest, triage_constraint

    TOOLS = load_tools()

ROOT = Path(__file__).resolve().parents[1]
SCRATCH = Path(tempfile.mkdtemp())
CALL.set(Call(Workspace.of_a_server(SCRATCH)))
SAMPLES = json.loads((ROOT / "tests/samples/calls.json").read_text(encoding="utf-8"))
SCHEMAS = "".join(json.dumps(input_schema(tool.request)) for tool in TOOLS.values())
WORDS = sorted(
    {*re.findall(r"\w+", SCHEMAS), *re.findall(r"\w+", json.dumps(SAMPLES)), "kind", "training", "inference"}
)
HANG_SECONDS, MEMORY_MB = 2, 500


def text(data: bytes) -> None:
    """What somebody pasted."""
    triage(text=data.decode("utf-8", "replace"))


def log(data: bytes) -> None:
    """A log file."""
    SCRATCH.joinpath("train.log").write_bytes(data)
    triage(log_path="train.log")


def script(data: bytes) -> None:
    """A script, beside a text that needs none."""
    SCRATCH.joinpath("train.py").write_bytes(data)
    triage(text="CUDA out of memory", script_path="train.py")


def request(data: bytes) -> None:
    """Arguments of a tool: its own field names, or others, with values of any kind."""
    given = atheris.FuzzedDataProvider(data)
    tool = given.PickValueInList(list(TOOLS.values()))
    names = [*tool.request.model_fields, "nonsense"]
    arguments = {given.PickValueInList(names): value(given, 3) for _ in range(given.ConsumeIntInRange(0, 5))}
    try:
        read(tool.request, {**SAMPLES.get(tool.name, {}), **arguments})
    except ToolError as error:
        assert len(str(error)) < 5000, "a refusal repeats a whole input"


def value(given: atheris.FuzzedDataProvider, depth: int) -> object:
    """Any value that JSON can carry, words of the schemas among its strings."""
    kind = given.ConsumeIntInRange(0, 7 if depth else 5)
    if kind == 6:
        return [value(given, depth - 1) for _ in range(given.ConsumeIntInRange(0, 4))]
    if kind == 7:
        return {word(given): value(given, depth - 1) for _ in range(given.ConsumeIntInRange(0, 4))}
    simple = (None, given.ConsumeBool(), given.ConsumeInt(9), given.ConsumeFloat(), word(given), word(given))
    return simple[kind]


def word(given: atheris.FuzzedDataProvider) -> str:
    """A word that a Request knows, or any text."""
    known = given.ConsumeBool()
    return given.PickValueInList(WORDS) if known else given.ConsumeUnicode(given.ConsumeIntInRange(0, 40))


def triage(**arguments: str) -> None:
    """One call; its texts must keep to their lengths whatever comes in."""
    try:
        report = triage_constraint(TriageConstraintRequest(**arguments))
    except ToolError:
        return
    assert len(report.brief()) <= 1500
    report.model_dump_json()


TARGETS: dict[str, Callable[[bytes], None]] = {t.__name__: t for t in (text, log, script, request)}


def seeds(target: str) -> list[bytes]:
    """Where the fuzzer starts: the example's files, sample calls, and one message of each kind."""
    example = ROOT / "examples/gpu_oom"
    if target == "script":
        return [file.read_bytes() for file in (example / "train.py", ROOT / "tests/samples/steps.py")]
    messages = ROOT.joinpath("tools/triage_constraint/concepts.txt").read_bytes().split(b"\n\n")
    return [
        example.joinpath("train.log").read_bytes(),
        b"Killed",
        b"exit code 137",
        *[m[:300] for m in messages[:40]],
    ]


def main(target: str, inputs: int, seconds: int) -> None:
    corpus = ROOT / "benchmarks/corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    starts = Path(tempfile.mkdtemp())
    for number, seed in enumerate(seeds(target)):
        (starts / str(number)).write_bytes(seed)
    flags = [
        f"-runs={inputs}",
        f"-max_total_time={seconds}",
        f"-timeout={HANG_SECONDS}",
        f"-rss_limit_mb={MEMORY_MB}",
        "-max_len=1024",
        f"-artifact_prefix={corpus}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus), str(starts)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(
        sys.argv[1],
        int(sys.argv[2]) if len(sys.argv) > 2 else 100_000,
        int(sys.argv[3]) if len(sys.argv) > 3 else 3600,
    )

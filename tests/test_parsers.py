"""What reads the caller's input in the server's own process answers anything with a Report or one sentence."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizing_resources.tools import load_tools
from optimizing_resources.tools._core.contract import ToolError, read
from optimizing_resources.tools.triage_constraint import TriageConstraintRequest, triage_constraint

BENCHMARKS = (
    Path(__file__).resolve().parents[1] / "benchmarks"
)  # corpus/: what fuzzing found to be answered in new ways
PHRASES = [
    "CUDA out of memory. Tried to allocate", "total capacity", "reserved in total by PyTorch", "GPU 0", "GiB", "MiB",
    "bytes", "samples per class", "exit code", "Killed", "it/s", "ms", "%", "$", "epoch",
    "Traceback (most recent call last):", "slurmstepd: error: oom-kill",
]  # fmt: skip
TOOLS = load_tools()


def triage(**arguments):
    """One call: a Report whose text keeps to its length, or a refusal."""
    try:
        report = triage_constraint(TriageConstraintRequest(**arguments))
    except ToolError as error:
        return str(error)
    assert len(report.brief()) <= 1500
    return report.model_dump_json()


pieces = st.one_of(
    st.sampled_from(PHRASES), st.text(max_size=12), st.decimals().map(str), st.integers().map(str)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(pieces, max_size=30), st.sampled_from([" ", "\n", ""]))
def test_any_text_is_answered(parts, between):
    assert triage(text=between.join(parts))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize("tool", TOOLS.values(), ids=list(TOOLS))
@given(data=st.data())
def test_any_arguments_make_a_request_or_one_short_refusal(tool, data):
    fields = st.sampled_from([*tool.request.model_fields, "nonsense"])
    arguments = data.draw(st.dictionaries(fields, json_values, max_size=4))
    try:
        read(tool.request, arguments)
    except ToolError as error:
        assert len(str(error)) < 3000 and "Traceback" not in str(error)


def targets() -> ModuleType:
    """What the fuzzer feeds, by name."""
    spec = importlib.util.spec_from_file_location("fuzz_targets", BENCHMARKS / "fuzz_targets.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore:invalid:SyntaxWarning")
def test_what_fuzzing_kept_is_still_answered():
    fuzz = targets()
    for name, target in fuzz.TARGETS.items():
        files = sorted((BENCHMARKS / "corpus" / name).iterdir())
        assert files
        for file in files:
            assert target(file.read_bytes()), file

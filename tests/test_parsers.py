"""What reads the caller's input in the server's own process answers anything with a Report or one sentence."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizing_resources.tools import load_tools
from optimizing_resources.tools._core.contract import CALL, Call, ToolError, read
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.triage_constraint import TriageConstraintRequest, triage_constraint

CORPUS = Path(__file__).resolve().parents[1] / "benchmarks/corpus"  # what fuzzing found to reach new lines
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


@pytest.mark.parametrize("target", ["text", "log", "script"])
def test_what_fuzzing_kept_is_still_answered(target, tmp_path):
    files = sorted(CORPUS.joinpath(target).iterdir())
    assert files
    CALL.set(Call(Workspace.of_a_server(tmp_path)))
    for file in files:
        if target == "text":
            triage(text=file.read_bytes().decode("utf-8", "replace"))
            continue
        name = {"log": "train.log", "script": "train.py"}[target]
        (tmp_path / name).write_bytes(file.read_bytes())
        triage(**({"log_path": name} if target == "log" else {"text": "Killed", "script_path": name}))

"""What fuzzing feeds: one function for each parser of what a caller, a program or a price endpoint hands in.

A target takes bytes and returns a word for how they were answered; any exception but a refusal is a finding. `seeds`
are the well-formed inputs of a target.
"""

import hashlib
import importlib.util
import io
import json
import random
import sys
import tempfile
import zipfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
from onnx import TensorProto, helper
from optimizing_resources.tools import load_tools
from optimizing_resources.tools._catalog.prices import shipped
from optimizing_resources.tools._compression.engine import graph, npz
from optimizing_resources.tools._compression.engine.refusal import Refused
from optimizing_resources.tools._compression.sources import find_source
from optimizing_resources.tools._core.contract import CALL, Call, ToolError, input_schema, read
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools._series.intake.files import read as read_table
from optimizing_resources.tools._series.intake.roles import Asked
from optimizing_resources.tools._series.intake.series import load as load_series
from optimizing_resources.tools.apply_amp_patch.codemod import ORDER, patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes
from optimizing_resources.tools.apply_amp_patch.source import read_source
from optimizing_resources.tools.estimate_cost.refresh import PROVIDERS, source
from optimizing_resources.tools.estimate_cost.refresh.judge import judge
from optimizing_resources.tools.triage_constraint import TriageConstraintRequest, triage_constraint

ROOT = Path(__file__).resolve().parents[1]
TOOLS = load_tools()
SCRATCH = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
SAMPLES = json.loads((ROOT / "tests/samples/calls.json").read_text(encoding="utf-8"))
Target = Callable[[bytes], str]


def text(data: bytes) -> str:
    """What somebody pasted."""
    return triage(text=data.decode("utf-8", "replace"))


def log(data: bytes) -> str:
    """A log file."""
    SCRATCH.joinpath("train.log").write_bytes(data)
    return triage(log_path="train.log")


def script(data: bytes) -> str:
    """A script, beside a text that needs none."""
    SCRATCH.joinpath("train.py").write_bytes(data)
    return triage(text="CUDA out of memory", script_path="train.py")


def triage(**arguments: str) -> str:
    """One call; its texts must keep to their lengths whatever comes in."""
    CALL.set(Call(Workspace.of_a_server(SCRATCH)))
    try:
        report = triage_constraint(TriageConstraintRequest.model_validate(arguments))
    except ToolError as error:
        return str(error)[:20]
    assert len(report.brief()) <= 1500
    report.model_dump_json()
    shown = [piece.shows[:20] for piece in report.evidence]
    return f"{report.constraint} {report.sub_cause} {sorted(report.numbers)} {shown} {len(report.fallback)}"


def patcher(data: bytes) -> str:
    """A script or notebook to patch: what comes out parses, and a second patch changes nothing."""
    name = "train.ipynb" if data[:1] == b"{" else "train.py"
    digest = hashlib.sha256(data).digest()[0]
    remedies = [remedy for place, remedy in enumerate(ORDER) if digest >> place % 8 & 1] or list(ORDER)
    try:
        read_in = read_source(data, name)
        result = patch(read_in.text, remedies, Wishes(precision="bf16", accumulation_steps=4))
        read_in.encode(result.text)
    except (ToolError, SyntaxError) as error:
        return str(error)[:20]
    if result.text != read_in.text and compiles(read_in.text):
        assert compiles(result.text), "the patched script does not compile"
    again = patch(result.text, remedies, Wishes(precision="bf16", accumulation_steps=4))
    assert again.text == result.text, "a second patch changes the first"
    return f"{sorted(result.outcomes.items())} {sorted({site.reason_code for site in result.sites})}"


def compiles(code: str) -> bool:
    """Whether Python takes it: more than that it parses."""
    try:
        compile(code, "train.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


def table(data: bytes) -> str:
    """A table of series."""
    kinds = {b"PAR1": "parquet", b"ARRO": "feather", b"\x1f\x8b": "csv.gz"}
    path = (
        SCRATCH / f"series.{next((kind for start, kind in kinds.items() if data.startswith(start)), 'csv')}"
    )
    path.write_bytes(data)
    try:
        series = load_series(read_table(path), Asked())
    except ToolError as error:
        return str(error)[:30]
    return f"{len(series.ids)} {series.is_date} {[warning[:12] for warning in series.warnings]}"


def model(data: bytes) -> str:
    """A model or its rows: ONNX, npz, a pickle or a torch.export archive."""
    path = SCRATCH / "model"
    path.write_bytes(data)
    try:
        if data[:2] == b"PK" and b".npy" in data:
            return str({name: array.dtype.kind for name, array in npz.read(path).items()})[:40]
        kind = find_source("model", None, False, Workspace.of_a_server(SCRATCH)).kind
        if kind != "onnx":  # the other libraries read their files in a child alone
            return kind
        return str([node.op_type for node in graph.read(str(path)).graph.node])[:40]
    except Refused as refusal:
        return str(refusal)[:30]
    except ToolError as error:
        return str(error)[:30]


def request(data: bytes) -> str:
    """The arguments of a tool: those of its sample, changed at random by the bytes."""
    chance = random.Random(data)
    tool = chance.choice(list(TOOLS.values()))
    arguments = changed({**SAMPLES.get(tool.name, {})}, list(tool.request.model_fields), chance)
    try:
        read(tool.request, arguments)
    except ToolError as error:
        assert len(str(error)) < 5000, "a refusal repeats a whole input"
        return f"{tool.name} {str(error)[:40]}"
    return tool.name


def changed(arguments: dict[str, Any], names: list[str], chance: random.Random) -> dict[str, Any]:
    """The arguments with some of them replaced, removed or added, at any depth."""
    for _ in range(chance.randint(0, 4)):
        name = chance.choice([*names, "nonsense", *arguments])
        inner = arguments.get(name)
        if isinstance(inner, dict) and chance.random() < 0.7:
            arguments[name] = changed({**inner}, list(inner) or ["x"], chance)
        elif chance.random() < 0.1:
            arguments.pop(name, None)
        else:
            arguments[name] = value(chance, 3)
    return arguments


def value(chance: random.Random, depth: int) -> Any:
    """Any value that JSON can carry, words of the schemas among its strings."""
    kind = chance.randint(0, 9 if depth else 7)
    if kind == 8:
        return [value(chance, depth - 1) for _ in range(chance.randint(0, 4))]
    if kind == 9:
        return {chance.choice(WORDS): value(chance, depth - 1) for _ in range(chance.randint(0, 4))}
    noise = "".join(chr(chance.choice([chance.randint(0, 127), chance.randint(0, 0xD7FF)])) for _ in range(8))
    odd = (None, True, 0, -1, 1e308, float("nan"), 10 ** chance.randint(1, 400), "", "x" * 10_000)
    simple = (chance.choice(odd), chance.random() * 1e6, chance.randint(-9, 9999), noise)
    return simple[kind] if kind < 4 else chance.choice(WORDS)


WORDS = sorted(
    {
        part
        for tool in TOOLS.values()
        for part in json.dumps(input_schema(tool.request)).split('"')
        if part.isidentifier()
    }
)


def reply(data: bytes) -> str:
    """What a price endpoint sends; which one is told by the first byte."""
    names = list(PROVIDERS)
    name = names[data[0] % len(names)] if data else names[0]
    with mock.patch.object(source, "_open", lambda url, body, headers: Reply(data[1:])):
        try:
            fresh = PROVIDERS[name].read("https://example.org/index.json", ["eu-west-1"], PRICES)
            found = judge(fresh, name, PRICES)
        except ToolError as error:
            return f"{name} {str(error)[-60:]}"
    return f"{name} {len(found.rows)}"


class Reply(io.BytesIO):
    """A response without a connection."""

    headers = Message()


PRICES = shipped()
TARGETS: dict[str, Target] = {
    target.__name__: target for target in (text, log, script, patcher, table, model, request, reply)
}


def seeds(target: str) -> list[bytes]:
    """Well-formed inputs of a target."""
    example = ROOT / "examples/gpu_oom"
    if target in ("text", "log"):
        texts = [word.encode() for word in WORDS_OF_LOGS]
        return [example.joinpath("train.log").read_bytes(), *texts]
    if target in ("script", "patcher"):
        golden = sorted((ROOT / "tests/golden/apply_amp_patch").rglob("*.in.py"))[:60]
        files = [example / "train.py", ROOT / "tests/samples/steps.py", *golden]
        return [file.read_bytes() for file in files if file.stat().st_size < 6000]
    if target == "table":
        return tables()
    if target == "model":
        return models()
    return replies() if target == "reply" else [bytes([number]) for number in range(50)]


WORDS_OF_LOGS = (
    "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity; 12.10 GiB already allocated)",
    "Of the allocated memory 9.98 GiB is allocated by PyTorch, and 3.61 GiB is reserved by PyTorch but unallocated",
    "MPS backend out of memory (MPS allocated: 5.05 GB, other allocations: 2.72 GB, max allowed: 9.07 GB).",
    "OOM when allocating tensor with shape[32,512,512,64] and type float on /job:localhost by allocator GPU_0_bfc",
    "slurmstepd: error: Detected 1 oom-kill event(s). exit code 137", "training takes 3 days, 12% utilisation",
    "Failed to resize buffer. Requested: 1,048,576, available 65536, missing: 983040", "$12 per day for 20 images",
    "Watchdog caught collective operation timeout: WorkNCCL(Timeout(ms)=1800000)", "显存不足 训练很慢",
)  # fmt: skip


def tables() -> list[bytes]:
    """CSV in several manners, and the binary forms."""
    import pyarrow as pa
    from pyarrow import feather, parquet

    plain = ROOT.joinpath("tests/samples/series.csv").read_bytes()[:600]
    long = b"unique_id,ds,y\na,2024-01-01,1\na,2024-01-02,2\nb,2024-01-01,3\nb,2024-01-02,\n"
    european = "Datum;Wert\n01.02.2024;1,5\n02.02.2024;2,5\n03.02.2024;3,5\n".encode("utf-16")
    columns = pa.table({"id": ["a", "a", "b"], "t": [1, 2, 1], "y": [0.5, float("nan"), 2.0]})
    found = [plain, long, european, b"2024,1\n2025,2\n", b"a\tb\n1\t2\n3\t4\n", b"date,x,y\n2024-W01,1,2\n"]
    for write in (parquet.write_table, feather.write_feather):
        buffer = io.BytesIO()
        write(columns, buffer)
        found.append(buffer.getvalue())
    return found


def models() -> list[bytes]:
    """A small ONNX graph, rows, a pickle's opcodes and an archive."""
    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 2], np.ones(8, "float32").tobytes(), raw=True)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    rows, archive = io.BytesIO(), io.BytesIO()
    np.savez(rows, x=np.ones((3, 2), "float32"), y=np.arange(3))
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("m/archive_format", "pt2")
        opened.writestr("m/models/model.json", json.dumps({"graph_module": {"graph": {"nodes": []}}}))
        opened.writestr("m/data/weights/model_weights_config.json", json.dumps({"config": {}}))
    made = helper.make_model(helper.make_graph([node], "g", [shape], [out], [weights]))
    assert isinstance(made, onnx.ModelProto)
    return [made.SerializeToString(), rows.getvalue(), b"\x80\x02cos\nsystem\nq\x00.", archive.getvalue()]


def replies() -> list[bytes]:
    """The provider's place in the list, then a reply in its shape: those of the tests."""
    path = ROOT / "tests/tools/test_prices.py"
    spec = importlib.util.spec_from_file_location("price_samples", path)
    assert spec and spec.loader
    shapes = importlib.util.module_from_spec(spec)
    sys.modules["price_samples"] = shapes
    spec.loader.exec_module(shapes)
    aws = shapes.aws(shapes.aws_row("g5.xlarge", "1.123", "1"))
    entry = {
        "name": "a",
        "description": "1x A10",
        "price_cents_per_hour": 75,
        "specs": {"vcpus": 30, "gpus": 1},
    }
    header = "Region,Price,InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,GpuInfo,SpotPrice"
    sky = f"{header}\nr,2.95,h,H100,1,16,200,,1\n"
    by_name: dict[str, list[Any]] = {
        "aws": [*aws.values()],
        "azure": [{"Items": [shapes.azure_item("Standard_NC4as_T4_v3", 0.5)], "NextPageLink": None}],
        "gcp": [shapes.GCP],
        "lambda": [{"data": {"a": {"instance_type": entry}}}],
        "runpod": [{"data": {"gpuTypes": [{"id": "NVIDIA L4", "memoryInGb": 24, "securePrice": 0.44}]}}],
    }
    return [
        bytes([place]) + (shape if isinstance(shape, str) else json.dumps(shape)).encode()
        for place, name in enumerate(PROVIDERS)
        for shape in by_name.get(name, [sky])
    ]

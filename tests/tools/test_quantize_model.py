"""quantize_model through its public surface: what it keeps, what it hands over, what it does not promise."""

import itertools
import json
from pathlib import Path

import pytest
from optimizing_resources.tools._compression import race, search
from optimizing_resources.tools._compression.pace import Pace
from optimizing_resources.tools._compression.plan import Plan, Variant
from optimizing_resources.tools._core.contract import CALL, Call, ToolError, input_schema
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.quantize_model import QuantizeModelRequest, events, quantize_model

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(autouse=True)
def short_races(monkeypatch):
    """No test looks at a latency; less than usual is timed."""
    monkeypatch.setattr(race, "WINDOW_SECONDS", 0.3)
    monkeypatch.setattr(search, "FIRST_LOOK_SECONDS", 0.2)


@pytest.fixture
def world(tmp_path, request):
    """A workspace with a wide ONNX network and rows that it labels itself."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    sizes = [32, 512, 512, 4]
    nodes, tensors = [], []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        array = (rng.standard_normal((a, b)) / a**0.5).astype("float32")
        tensors.append(numpy_helper.from_array(array, f"w{i}"))
        nodes.append(
            helper.make_node("MatMul", [f"r{i - 1}" if i else "x", f"w{i}"], [f"h{i}" if i < 2 else "y"])
        )
        if i < 2:
            nodes.append(helper.make_node("Relu", [f"h{i}"], [f"r{i}"]))
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])], tensors,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "net.onnx")
    x = rng.standard_normal((1200, 32)).astype("float32")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.savez(tmp_path / "rows.npz", x=x, y=session.run(None, {"x": x})[0].argmax(1))
    notes: list[str] = []
    token = CALL.set(Call(Workspace(tmp_path), progress=lambda done, total, note: notes.append(note)))
    yield tmp_path, notes
    CALL.reset(token)


def request(**changes):
    base = {"model": "net.onnx", "data": "rows.npz", "runtimes": ["onnxruntime"], "max_search_seconds": 40}
    return QuantizeModelRequest(**{**base, **changes})


def own_outputs_as_targets(folder: Path) -> None:
    import onnxruntime

    x = np.load(folder / "rows.npz")["x"]
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"), providers=["CPUExecutionProvider"])
    np.savez(folder / "own.npz", x=x, y=session.run(None, {"x": x})[0])


def accuracy(path: Path, rows) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return float((session.run(None, {"x": rows["x"]})[0].argmax(1) == rows["y"]).mean())


def test_the_whole_search_and_a_second_one_from_its_cache(world):
    folder, notes = world
    report = quantize_model(request(max_metric_drop="20%"))
    by_name = {c.variant: c for c in report.candidates}
    assert by_name["ort_dynamic_int8"].status in ("chosen", "confirmed", "slower")
    assert by_name["torch_compile_fp32"].status == "skipped"
    assert report.outcome in ("quantized", "keep_fp32")
    assert accuracy(Path(report.chosen.path), np.load(folder / "rows.npz")) >= 0.8
    for name in ("report.md", "manifest.json", "picture_batch1.svg"):
        assert (Path(report.folder) / name).read_text(encoding="utf-8")
    manifest = json.loads((Path(report.folder) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["source"]["net.onnx"] and manifest["conditions"]["isa"]
    assert set(report.rows) == {"calibration", "search", "confirmation"}
    assert len(report.brief()) <= 1500 and report.verdict in report.readable()
    assert any(note.startswith("ort_dynamic_int8") for note in notes)

    # a budget of nothing: figures come from the cache, and what moved a single label is refused
    rows = {path: path.stat().st_mtime_ns for path in folder.rglob("row.*.json")}
    strict = quantize_model(request(max_metric_drop=0))
    assert rows and rows == {path: path.stat().st_mtime_ns for path in rows}
    for c in strict.candidates:
        if c.metric_drop and c.metric_drop > 0:
            assert c.status in ("over_budget", "not_confirmed", "slower")


def test_a_size_limit_that_only_int8_keeps_decides_against_fp32_and_a_device_gets_a_file_of_its_own(world):
    import onnxruntime

    limits = {"max_size_bytes": 500_000, "device_profile": "raspberry_pi_5"}
    report = quantize_model(request(max_metric_drop="50%", batch_sizes=[1], threads=2, **limits))
    assert report.baseline.size_bytes > 500_000
    assert report.outcome == "quantized" and report.chosen.variant.startswith("ort_")
    settings = [c.variant for c in report.candidates if c.variant.endswith(("_one_thread", "_no_spinning"))]
    assert len(settings) == 2  # whichever file was the fastest
    assert {c.basis for c in report.candidates} == {
        "assumed"
    } and "latency there is unknown" in report.warnings[-1]
    rows = {"x": np.load(world[0] / "rows.npz")["x"][:8]}
    outputs = [
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, rows)[0]
        for path in (report.chosen.path, report.edge_files["ort"])
    ]
    assert np.allclose(*outputs, rtol=1e-3, atol=1e-3)
    assert "source is a finished file" in report.edge_missing["pte"]


def test_where_only_a_slower_file_keeps_the_limit_it_is_measured_and_offered(world, monkeypatch):
    monkeypatch.setattr(search, "SLOWEST_RATIO", 1e9)  # everything counts as slow
    one = Variant("ort_dynamic_int8", "dynamic", settings={"ops": ["MatMul"]})
    monkeypatch.setattr(events, "make_plan", lambda *_: Plan([one], {}))
    given = {"max_metric_drop": "90%", "batch_sizes": [1]}
    free = quantize_model(request(**given))
    assert free.outcome == "keep_fp32" and free.candidates[0].status == "slower"
    assert "is no smaller than what the model gains over one constant answer" in free.warnings[0]
    report = quantize_model(request(**given, max_size_bytes=500_000))
    assert report.outcome == "quantized" and report.verdict.startswith("The baseline breaks a limit")
    assert Path(report.chosen.path).stat().st_size <= 500_000
    tight = quantize_model(request(**given, max_size_bytes=1000))
    assert (
        "nothing was confirmed that keeps it, so fp32 stays" in tight.verdict
        and "broke a limit" in tight.verdict
    )


def test_a_search_without_time_for_any_candidate_keeps_fp32_with_the_figures_it_has(world, monkeypatch):
    monkeypatch.setattr(Pace, "variant_seconds", lambda *_: 1e9)
    monkeypatch.setattr(Pace, "race_seconds", lambda *_: 1e9)
    report = quantize_model(request())
    assert report.outcome == "keep_fp32" and "were not tried for time" in report.verdict
    assert set(report.baseline.latency_seconds) == {"1", "64"} and Path(report.chosen.path).exists()
    assert {c.status for c in report.candidates} == {"not_tried", "skipped"}
    with pytest.raises(
        ToolError, match=r"The time ended in the step 'prepare' \(saw max_search_seconds 0.001\)"
    ):
        quantize_model(request(max_search_seconds=0.001))
    assert not list(world[0].rglob(".quantize-*"))


def test_a_model_outside_the_workspace_is_refused(world, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "net.onnx"
    outside.write_bytes(b"x")
    with pytest.raises(ToolError, match="outside the workspace"):
        quantize_model(request(model=str(outside)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric": "f1"}, "Unknown metric"),
        ({"metric": "m.py:f1"}, "metric_direction"),
        ({"max_metric_drop": "much"}, "no budget"),
        ({"max_metric_drop": -1}, "no budget"),
        ({"batch_sizes": [0]}, "out of range"),
        ({"runtimes": ["tvm"]}, "Unknown runtime"),
        ({"device_profile": "toaster"}, "Unknown device_profile"),
        ({"target_isa": "mips"}, "Unknown target_isa"),
        ({"data": "rows.csv"}, "No such file"),
        ({"max_size_bytes": 0}, "max_size_bytes is no limit"),
        ({"data": "own.npz", "metric": "mae"}, "so 1% of it allows nothing"),
        ({"weights": "rows.npz"}, "weights belong to a factory"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(world, changes, said):
    if changes.get("data") == "own.npz":
        own_outputs_as_targets(world[0])
    with pytest.raises(ToolError, match=said):
        quantize_model(request(**changes))


def test_the_menu_entry_keeps_its_budget():
    summary = quantize_model.__doc__.strip().split("\n\n")[0]
    entry = "quantize_model" + summary + json.dumps(input_schema(QuantizeModelRequest), separators=(",", ":"))
    assert len(entry) <= 1700

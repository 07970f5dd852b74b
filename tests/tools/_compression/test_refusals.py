"""Hostile and broken models and rows: one sentence each, and nothing of theirs is run."""

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
from optimizing_resources.tools._compression.archives import pickle_globals, scan_program
from optimizing_resources.tools._compression.sources import find_source
from optimizing_resources.tools._core.contract import ToolError
from optimizing_resources.tools._core.workspace import Workspace

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")


class Bomb:
    """Unpickling this makes a file; no test may find it."""

    def __init__(self, fuse: Path) -> None:
        self.fuse = fuse

    def __reduce__(self):
        return os.system, (f"touch {self.fuse}",)


def archive(path: Path, members: dict[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def bomb(tmp_path: Path):
    fuse = tmp_path / "fired"
    yield pickle.dumps(Bomb(fuse))
    assert not fuse.exists()


GRAPH = {"graph_module": {"graph": {"nodes": []}}, "guards_code": []}


def program(tmp_path: Path, *, graph: object = GRAPH, extra: dict[str, bytes | str] | None = None) -> Path:
    members = {"m/archive_format": "pt2", "m/models/model.json": json.dumps(graph), **(extra or {})}
    return archive(tmp_path / "program.pt2", members)


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("model.pkl", None),
        ("model.pt", None),
        ("model.joblib", None),
        ("model.onnx", None),
        ("model.pt", {"m/data.pkl": b""}),
        ("model.bin", {"m/data.pkl": b""}),
        ("script.pt", {"m/constants.pkl": b"", "m/data.pkl": b"", "m/code/x.py": b""}),
        ("program.pt2", {"m/archive_format": b"pt2", "m/data/sample_inputs/model.pt": b""}),
    ],
)
def test_a_pickle_in_any_container_is_refused_and_does_not_fire(name, members, bomb, tmp_path):
    path = tmp_path / name
    if members is None:
        path.write_bytes(bomb)
    else:
        archive(path, {member: content or bomb for member, content in members.items()})
    with pytest.raises(ToolError) as refusal:
        find_source(name, None, False, Workspace(tmp_path))
    assert len(str(refusal.value).splitlines()) == 1


def test_pickled_weights_of_a_factory_are_refused_before_torch_sees_them(bomb, tmp_path):
    (tmp_path / "net.py").write_text("def make(): ...", encoding="utf-8")
    archive(tmp_path / "w.pt", {"m/data.pkl": bomb})
    with pytest.raises(ToolError, match=r"posix\.system"):
        find_source("net.py:make", "w.pt", False, Workspace(tmp_path))


def test_a_pickle_is_listed_by_name_without_running_it(bomb):
    assert pickle_globals(bomb) == ["posix system"]


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        ({"target": "torch.serialization.os.system"}, "something else than tensor operations"),
        ({"expr_str": "__import__('os').system('true')"}, "no arithmetic"),
        ({"guards_code": ["__import__('os').system('true') == 0"]}, "no comparison"),
        ({"guards_code": ["x.__class__ is None"]}, "no comparison"),
        ({"as_custom_obj": {"name": "obj", "class_fqn": "a.b"}}, "custom object"),
        ({"in_spec": '[1, {"type": "os.system", "context": ""}]'}, "container types"),
    ],
)
def test_a_program_whose_graph_could_run_code_is_refused(graph, said, tmp_path):
    with pytest.raises(ToolError, match=said):
        scan_program(program(tmp_path, graph={**GRAPH, "nodes": [graph], **graph}))


@pytest.mark.parametrize(
    "extra",
    [
        {"m/data/constants/custom_obj_0": b""},
        {"m/data/constants/opaque_obj_0": b""},
        {"m/extra/run.py": "print()"},
        {
            "m/data/weights/model_weights_config.json": json.dumps(
                {"config": {"w": {"path_name": "weight_0", "use_pickle": True}}}
            )
        },
        {
            "m/data/constants/model_constants_config.json": json.dumps(
                {"config": {"c": {"path_name": "custom_obj_0"}}}
            )
        },
    ],
)
def test_a_program_with_objects_beside_its_tensors_is_refused(extra, tmp_path):
    with pytest.raises(ToolError, match="could run code on loading"):
        scan_program(program(tmp_path, extra=extra))


def test_what_torch_itself_exports_passes_the_scan(tmp_path):
    torch = pytest.importorskip("torch")

    class Patches(torch.nn.Module):
        def forward(self, x):
            return x.reshape(3 * x.shape[0], -1)[: 2 * x.shape[0] + 1]

    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), Patches())
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(net, (torch.zeros(2, 4),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, tmp_path / "net.pt2")
    scan_program(tmp_path / "net.pt2")
    assert find_source("net.pt2", None, False, Workspace(tmp_path)).kind == "pt2"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.onnx", b"", "empty"),
        ("model.h5", b"\x89HDF", "Keras"),
        ("model.safetensors", struct.pack("<Q", 2) + b"{}", "Weights alone"),
        ("model.pt", b"garbage", "loaded safely"),
        ("half.pt2", b"PK\x03\x04garbage", "no complete archive"),
        ("model.py", b"x = 1", "name of its factory"),
    ],
)
def test_a_file_that_is_no_model_is_refused_in_one_sentence(name, content, said, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ToolError, match=said):
        find_source(name, None, False, Workspace(tmp_path))


# From here on the model is an ONNX file, and the engine's own `prepare` refuses.


@pytest.fixture
def prepare(workspace, make_network, make_rows):
    """Refusal of `prepare` (or None) after `spoil(model, rows)` changed model or rows in place."""
    from optimizing_resources.tools._compression.engine import prepare as engine
    from optimizing_resources.tools._compression.engine.refusal import Refused

    def refusal(spoil=lambda model, rows: None, metric: str = "accuracy", batch_sizes=(1, 64), batch="batch"):
        model = make_network(batch=batch)
        rows = make_rows(make_network())
        content = spoil(model, rows)
        path = workspace / "model.onnx"
        path.write_bytes(content if isinstance(content, bytes) else model.SerializeToString())
        np.savez(workspace / "rows.npz", **rows)
        request = {
            "artifact": {"runtime": "onnxruntime", "path": str(path)}, "folder": str(workspace), "threads": 1,
            "data": str(workspace / "rows.npz"), "metric": metric, "batch_sizes": list(batch_sizes),
        }  # fmt: skip
        try:
            engine.prepare(request, lambda *_: None)
        except Refused as refused:
            return refused.reply["problem"]
        return None

    return refusal


def test_a_sound_model_with_sound_rows_is_accepted(prepare):
    assert prepare() is None


def external(location: str, offset: str = "0"):
    def spoil(model, rows):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", "1024")):
            tensor.external_data.add(key=key, value=value)

    return spoil


def test_external_data_outside_the_models_folder_is_refused(prepare, tmp_path_factory, workspace):
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_bytes(b"0" * 4096)
    (workspace / "link.data").symlink_to(outside)
    for location in ("../secret", str(outside), "link.data", "secret\0"):
        assert prepare(external(location)) == "External data must lie in the model's own folder"


def test_missing_and_short_external_data_is_refused(prepare, workspace):
    assert prepare(external("gone.data")) == "The model's external data file is missing"
    (workspace / "short.data").write_bytes(b"0" * 10)
    assert prepare(external("short.data")) == "The external data file is too short"
    for offset in ("-8", "some"):
        assert prepare(external("short.data", offset)) == "The place of the external data is malformed"


def nan_weight(model, rows):
    array = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    array[0, 0] = float("nan")
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, model.graph.initializer[0].name))


def other_op(name: str, domain: str = ""):
    def spoil(model, rows):
        model.graph.node[1].op_type, model.graph.node[1].domain = name, domain

    return spoil


def quantized(model, rows):
    model.graph.node.append(onnx.helper.make_node("MatMulInteger", ["a", "b"], ["c"]))


def beside_the_rows(name: str, shape: list[object]):
    def spoil(model, rows):
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        model.graph.input.append(value)

    return spoil


def random(model, rows):
    node = onnx.helper.make_node
    model.graph.node[-1].output[0] = "mean"
    model.graph.node.extend(
        [node("RandomNormalLike", ["mean"], ["noise"]), node("Add", ["mean", "noise"], ["y"])]
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (random, "The model gives other outputs when it is called again on the same rows"),
        (lambda model, rows: model.SerializeToString()[:3000], "The file is no complete ONNX model"),
        (lambda model, rows: b"\x00junk", "The file is no complete ONNX model"),
        (nan_weight, "The model's weights hold NaN"),
        (other_op("NoSuchOp"), "ONNX Runtime cannot load the model"),
        (other_op("Relu", "my.domain"), "The model uses custom operations"),
        (quantized, "The model is quantized already"),
        (beside_the_rows("rate", []), "The inputs do not share their rows in the first dimension"),
        (
            beside_the_rows("state", [2, "batch", 128]),
            "The inputs do not share their rows in the first dimension",
        ),
    ],
)
def test_a_broken_model_is_refused(prepare, spoil, said):
    assert prepare(spoil) == said


def test_a_model_above_two_gibibytes_is_refused_unread(tmp_path):
    from optimizing_resources.tools._compression.engine import graph
    from optimizing_resources.tools._compression.engine.refusal import Refused

    with (tmp_path / "big.onnx").open("wb") as file:
        file.truncate(3 * 1024**3)  # sparse: no disk is used
    with pytest.raises(Refused, match="larger than 2 GiB"):
        graph.read(str(tmp_path / "big.onnx"))


def rows_with(**arrays):
    return lambda model, rows: rows.update({name: make(rows) for name, make in arrays.items()})


def only(*names):
    def spoil(model, rows):
        for name in set(rows) - set(names):
            del rows[name]

    return spoil


def renamed(model, rows):
    rows["wrong"] = rows.pop("x")


def objects(model, rows):
    rows["y"] = np.array([{}] * len(rows["y"]), dtype=object)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (rows_with(x=lambda r: r["x"][:0], y=lambda r: r["y"][:0]), "The data has no rows"),
        (only("x"), "The data has no array 'y'"),
        (renamed, "The data has no array 'x'"),
        (objects, "The data file holds objects, which would run code on loading"),
        (rows_with(y=lambda r: r["y"][:-5]), "The arrays differ in their number of rows"),
        (rows_with(y=lambda r: r["y"] + 2), "Labels lie outside the model's classes"),
        (rows_with(y=lambda r: r["y"] - 1), "Labels lie outside the model's classes"),
        (rows_with(y=lambda r: r["y"] + 0.5), "Labels lie outside the model's classes"),
        (rows_with(y=lambda r: np.stack([r["y"]] * 4, 1)), "Labels and predicted classes differ in shape"),
        (rows_with(y=lambda r: np.where(r["y"] == 1, np.nan, r["y"])), "The targets hold NaN or infinity"),
        (rows_with(x=lambda r: r["x"][:, :9]), "Input x has the wrong shape"),
        (rows_with(x=lambda r: r["x"].astype("U8")), "Input x has the wrong type"),
        (rows_with(x=lambda r: np.where(r["x"] > 2.5, np.nan, r["x"])), "Input x holds NaN or infinity"),
        (
            rows_with(x=lambda r: r["x"][:9], y=lambda r: r["y"][:9]),
            "Too few rows to calibrate, search and confirm on",
        ),
    ],
)
def test_broken_rows_are_refused(prepare, spoil, said):
    assert prepare(spoil) == said


def test_rows_that_do_not_fit_are_refused_before_any_of_them_is_unpacked(prepare, monkeypatch):
    from optimizing_resources.tools._compression.engine import npz

    monkeypatch.setattr(npz, "read", lambda path: pytest.fail("unpacked"))
    assert prepare(rows_with(x=lambda r: r["x"][:, :9])) == "Input x has the wrong shape"


def test_the_first_rows_are_the_same_however_an_array_is_stored(tmp_path):
    from optimizing_resources.tools._compression.engine import npz

    arrays = {"c": np.arange(24.0).reshape(6, 2, 2), "f": np.arange(12).reshape(2, 6).T, "n": np.array(7)}
    np.savez_compressed(tmp_path / "rows.npz", **arrays)
    few, told = npz.head(str(tmp_path / "rows.npz"), 3), npz.outline(str(tmp_path / "rows.npz"))
    for name, array in arrays.items():
        assert np.array_equal(few[name], array[:3] if array.ndim else array)
        assert (told[name].shape, told[name].dtype) == (array.shape, array.dtype)


def test_a_member_that_is_no_array_is_refused_and_does_not_fire(bomb, tmp_path):
    from optimizing_resources.tools._compression.engine import npz, refusal

    archive(tmp_path / "rows.npz", {"x.npy": bomb, "y.npy": bomb})
    with pytest.raises(refusal.Refused, match="holds more than arrays"):
        npz.read(str(tmp_path / "rows.npz"))


def test_float64_rows_for_a_float32_model_are_cast(prepare):
    assert prepare(rows_with(x=lambda r: r["x"].astype("float64"))) is None


def test_targets_unlike_the_outputs_are_refused_for_an_error_metric(prepare):
    assert prepare(metric="mae") == "Targets and predictions differ in shape"


@pytest.mark.parametrize("batch", [1, -1])  # some exporters write a free batch as -1
def test_an_export_with_a_fixed_batch_is_set_free_where_it_holds(prepare, batch):
    assert prepare(batch=batch) is None

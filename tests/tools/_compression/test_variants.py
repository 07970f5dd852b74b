"""A candidate is made from whatever the file is, in the form that it needs."""

import importlib

import pytest
from optimizing_resources.tools._compression import bundle

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("opset", [9, 12, 17])
def test_int8_with_scales_per_channel_is_made_from_files_of_any_age(opset, make_network, tmp_path):
    variants = importlib.import_module("optimizing_resources.tools._compression.engine.variants")
    model = make_network()
    model.opset_import[0].version = opset
    onnx.save(model, tmp_path / "model.onnx")
    x = np.random.default_rng(0).standard_normal((64, 16)).astype("float32")
    np.save(tmp_path / "input0.calibration.npy", x)
    request = {
        "folder": str(tmp_path), "model": str(tmp_path / "model.onnx"), "names": ["x"], "fixed_batch": None,
        "variant": {"name": "int8", "kind": "static"},
    }  # fmt: skip
    made = variants.build(request, lambda *_: None)["artifact"]["path"]
    outputs = [
        onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for path in (made, str(tmp_path / "model.onnx"))
    ]
    assert np.abs(outputs[0] - outputs[1]).max() < 0.2


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_a_model_in_another_precision_is_float32_inside_and_the_same_outside(kind, make_network):
    floats = importlib.import_module("optimizing_resources.tools._compression.engine.floats")
    model = make_network()
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(kind)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.elem_type = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    x = np.random.default_rng(0).standard_normal((64, 16)).astype(kind)
    before, after = (
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for content in (model.SerializeToString(), floats.as_float32(model).SerializeToString())
    )
    assert before.dtype == after.dtype == kind and np.allclose(before, after, atol=0.02)
    assert all(tensor.data_type == onnx.TensorProto.FLOAT for tensor in model.graph.initializer)


@pytest.mark.parametrize("runtime", [*bundle.SNIPPETS])
def test_every_snippet_is_python_and_names_the_judged_output_and_its_classes(runtime, workspace):
    import zipfile

    path = workspace / "model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", "{}")
    spec = {"name": "x", "dtype": "float32", "shape": ["batch", 3]}
    facts = {"inputs": [spec], "output": 1, "classes": ["no", "yes"]}
    folder = bundle.hand_over("quantize", {"a": {"runtime": runtime, "path": str(path)}}, facts, 1, {}, {})
    text = (folder / "a" / "use.py").read_text(encoding="utf-8")
    compile(text, "use.py", "exec")
    assert ("[1])" in text and "classes = ['no', 'yes']" in text) or runtime != "onnxruntime"
    assert "joblib" not in text  # a pickle is loaded that way, skops files are not


def test_what_a_failed_shape_inference_leaves_behind_is_gone(tmp_path, make_network, monkeypatch):
    from pathlib import Path

    variants = importlib.import_module("optimizing_resources.tools._compression.engine.variants")
    shapes = importlib.import_module("onnxruntime.quantization.shape_inference")
    monkeypatch.chdir(tmp_path)
    onnx.save(make_network(), tmp_path / "model.onnx")

    def fails(source, target, *, skip_symbolic_shape):
        Path("weights.data").touch()
        raise Exception("Incomplete symbolic shape inference")

    monkeypatch.setattr(shapes, "quant_pre_process", fails)
    made = variants.preprocessed({"folder": str(tmp_path), "model": str(tmp_path / "model.onnx")})
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "preprocessed.onnx"}
    assert Path(made).read_bytes() == (tmp_path / "model.onnx").read_bytes()

"""Small worlds: an ONNX network, its rows, and a workspace that holds them."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optimizing_resources.tools._core.contract import CALL, Call
from optimizing_resources.tools._core.workspace import Workspace

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    """A folder that the call under test may read and write, and no other."""
    token = CALL.set(Call(Workspace(tmp_path)))
    yield tmp_path
    CALL.reset(token)


@pytest.fixture(scope="session")
def make_network() -> Callable[..., Any]:
    """A two-layer classifier as an ONNX model; `edit` may change it before it is returned."""

    def make(
        features: int = 16, hidden: int = 256, classes: int = 3, batch: object = "batch", seed: int = 0
    ) -> Any:
        from onnx import TensorProto, helper, numpy_helper

        rng = np.random.default_rng(seed)

        def weights(name: str, *shape: int) -> Any:
            return numpy_helper.from_array(
                (rng.standard_normal(shape) / shape[0] ** 0.5).astype("float32"), name
            )

        sizes = [features, hidden, hidden, classes]
        nodes, tensors, last = [], [], "x"
        for i, (a, b) in enumerate(itertools.pairwise(sizes)):
            tensors += [weights(f"w{i}", a, b), weights(f"b{i}", b)]
            out = "y" if i == 2 else f"h{i}"
            nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [out]))
            if i < 2:
                nodes.append(helper.make_node("Relu", [out], [f"r{i}"]))
            last = f"r{i}"
        graph = helper.make_graph(
            nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, features])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, classes])], tensors,
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)

    return make


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., dict[str, Any]]:
    """Rows that the network of `make_network` labels itself, so its accuracy is one."""

    def make(model: Any, count: int = 600, seed: int = 1) -> dict[str, Any]:
        import onnxruntime

        x = np.random.default_rng(seed).standard_normal((count, 16)).astype("float32")
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return {"x": x, "y": session.run(None, {"x": x})[0].argmax(1)}

    return make

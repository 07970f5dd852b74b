"""What the exported file promises: any batch, and for tokens any length that the model itself takes."""

import importlib

import pytest

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
pytest.importorskip("onnxscript")

NET = """
import torch

class Tokens(torch.nn.Module):
    def __init__(self, fixed):
        super().__init__()
        self.embed, self.head = torch.nn.Embedding(50, 8), torch.nn.Linear(8 * 12 if fixed else 8, 3)
        self.fixed = fixed

    def forward(self, input_ids):
        rows = self.embed(input_ids)
        return self.head(rows.flatten(1) if self.fixed else rows.mean(1))

def any_length():
    return Tokens(False)

def one_length():
    return Tokens(True)
"""


@pytest.mark.parametrize(("factory", "free"), [("any_length", True), ("one_length", False)])
def test_the_length_of_token_rows_stays_free_where_the_model_takes_any(factory, free, tmp_path):
    program = importlib.import_module("optimizing_resources.tools._compression.engine.program")
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    np.savez(tmp_path / "rows.npz", input_ids=np.arange(480).reshape(40, 12) % 50, y=np.zeros(40, int))
    request = {
        "kind": "factory", "file": str(tmp_path / "net.py"), "function": factory, "root": str(tmp_path),
        "data": str(tmp_path / "rows.npz"), "threads": 1, "folder": str(tmp_path),
    }  # fmt: skip
    reply = program.export(request, lambda *_: None)
    dims = onnx.load(reply["path"]).graph.input[0].type.tensor_type.shape.dim
    assert dims[0].dim_param and bool(dims[1].dim_param) == free
    assert reply["eager_gap"] < 1e-4


@pytest.mark.parametrize(("prefix", "fits"), [("", True), ("module._orig_mod.", True), ("net.", False)])
def test_the_names_that_wrappers_lengthen_still_fit_and_no_others(prefix, fits, tmp_path):
    torch = pytest.importorskip("torch")
    program = importlib.import_module("optimizing_resources.tools._compression.engine.program")
    state = {
        prefix + name: torch.ones_like(value) for name, value in torch.nn.Linear(2, 2).state_dict().items()
    }
    torch.save(state, tmp_path / "w.pt")
    model = torch.nn.Linear(2, 2)
    if fits:
        program.load_weights(model, str(tmp_path / "w.pt"))
        assert model.weight.eq(1).all()
    else:
        with pytest.raises(Exception, match="do not fit"):
            program.load_weights(model, str(tmp_path / "w.pt"))

"""prune_model and distill_model through their public surface, on a network that trains in seconds."""

import importlib
import json
from pathlib import Path

import pytest
from optimizing_resources.tools._compression import race
from optimizing_resources.tools._compression.trained import Trained
from optimizing_resources.tools._core.contract import CALL, Call, ToolError, input_schema
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.distill_model import DistillModelRequest, distill_model
from optimizing_resources.tools.distill_model.events import compare
from optimizing_resources.tools.prune_model import PruneModelRequest, prune_model

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch_pruning")

NET = """
from torch import nn

def make():
    return nn.Sequential(nn.Linear(8, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 3))

def small():
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained network, its weights, and rows of three classes that lie far apart, so any network gets all right."""
    folder = tmp_path_factory.mktemp("world").resolve()
    (folder / "net.py").write_text(NET, encoding="utf-8")
    names: dict = {}
    exec(NET, names)
    torch.manual_seed(0)
    net, y = names["make"](), torch.randint(0, 3, (1600,))
    x = 3 * torch.eye(8)[y] + 0.3 * torch.randn(1600, 8)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for i in range(50):
        rows = torch.arange(i * 64, (i + 1) * 64) % 600
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    assert (net(x).argmax(1) == y).all()
    torch.save(net.state_dict(), folder / "net.pt")
    np.savez(folder / "train.npz", x=x[:600].numpy(), y=y[:600].numpy())
    np.savez(folder / "eval.npz", x=x[600:].numpy(), y=y[600:].numpy())
    return folder


@pytest.fixture(autouse=True)
def call(folder, monkeypatch):
    monkeypatch.setattr(race, "WINDOW_SECONDS", 0.3)  # no test looks at a latency
    token = CALL.set(Call(Workspace(folder)))
    yield
    CALL.reset(token)


BASE = {
    "model": "net.py:make", "weights": "net.pt", "data": "eval.npz", "train_data": "train.npz",
    "batch_sizes": [1], "max_metric_drop": "10%",
    "max_train_seconds": 60,  # all epochs of the 600 rows take a second per network
}  # fmt: skip


def test_half_of_the_channels_go_and_the_small_network_is_faster_and_confirmed():
    report = prune_model(PruneModelRequest(**BASE, sparsity=[0.5]))
    (pruned,), (scratch,) = report.candidates, report.control
    assert pruned.size_bytes < 0.4 * report.baseline.size_bytes  # about a quarter of the weights is left
    assert scratch.variant == pruned.variant + "_from_scratch" and scratch.size_bytes == pruned.size_bytes
    assert {pruned.status, scratch.status} <= {
        "chosen",
        "confirmed",
        "slower",
        "over_budget",
        "not_confirmed",
    }
    if report.next_step:
        assert report.next_step.tool == "quantize_model"
        assert Path(str(report.next_step.arguments["model"])).exists()


class Heads(torch.nn.Module):
    """Weight norm inside, and two answers, neither of them a layer's own result."""

    def __init__(self) -> None:
        super().__init__()
        inner = [torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU()]
        torch.nn.utils.parametrizations.weight_norm(inner[2])
        self.body, self.first = torch.nn.Sequential(*inner), torch.nn.Linear(64, 5)
        self.second = torch.nn.Linear(64, 3)

    def forward(self, x):
        rows = self.body(x)
        return 2 * self.first(rows), torch.sigmoid(self.second(rows))


def test_every_answer_keeps_its_shape_when_channels_go():
    prune = importlib.import_module("optimizing_resources.tools._compression.engine.prune")
    model, x = Heads(), torch.randn(4, 8)
    before = [out.detach() for out in model(x)]
    small = prune.shrink(model, [x], 0.5)
    assert [out.shape for out in small(x)] == [(4, 5), (4, 3)]
    assert small.first.in_features == small.second.in_features == 32
    assert all(torch.allclose(a, b) for a, b in zip(before, model(x), strict=True))


class Recurrent(torch.nn.Module):
    def __init__(self, kind) -> None:
        super().__init__()
        self.body, self.head = getattr(torch.nn, kind)(8, 64), torch.nn.Linear(64, 5)

    def forward(self, x):
        found = self.body(x)
        return self.head(found[0] if isinstance(found, tuple) else found)


@pytest.mark.parametrize("kind", ["GRU", "GRUCell"])
def test_a_recurrent_network_is_refused_by_its_name(kind):
    prune = importlib.import_module("optimizing_resources.tools._compression.engine.prune")
    with pytest.raises(prune.Refused) as refused:
        prune.shrink(Recurrent(kind), [torch.randn(4, 8)], 0.5)
    assert refused.value.reply["saw"] == f"{kind}, no inner Linear or Conv layer"


def test_every_student_has_its_control_and_a_teacher_that_adds_nothing_is_told():
    report = distill_model(DistillModelRequest(**BASE, student="net.py:small", seeds=3))
    assert {s.student for s in report.students} == {"student"}
    assert len(report.candidates) == len(report.control) == 1
    (student,) = report.students
    assert student.labels_only == student.distilled == [1.0, 1.0, 1.0]
    assert student.finding == "no_difference"
    assert "No gain over the plain student" in report.verdict
    assert {c.variant for c in [*report.candidates, *report.control] if c.status == "chosen"} <= {
        "student_labels_only"
    }


@pytest.mark.parametrize(
    ("taught", "plain", "steps", "finding"),
    [
        ([0.9, 0.9, 0.91], [0.8, 0.89, 0.85], [100, 100, 100], "helped"),
        ([0.9, 0.9, 0.91], [0.8, 0.89, 0.85], [100, 100, 40], "uneven_steps"),  # plain seeds were cut short
        ([0.7, 0.7, 0.71], [0.8, 0.89, 0.85], [100, 100, 40], "hurt"),  # and won all the same
        ([0.9, 0.8, 0.91], [0.8, 0.89, 0.85], [100, 100, 40], "no_difference"),
        ([0.9, 0.9], [0.8, 0.8], [100, 100], "too_few_seeds"),
    ],
)
def test_a_teacher_helps_only_where_every_seed_shows_it_after_as_many_steps(taught, plain, steps, finding):
    rows = {"search_metric_by_seed": taught, "steps": [100] * len(taught), "parameters": 10}
    trained = Trained({"s_distilled": rows}, {"s_labels": {"search_metric_by_seed": plain, "steps": steps}})
    assert compare("s_distilled", "s_labels", trained, higher=True)["finding"] == finding


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "net.onnx"}, "trained from its source"),
        ({"loss": "hinge"}, "Unknown loss"),
        ({"sparsity": [1.5]}, "share of channels"),
        ({"weights": "eval.npz"}, "could run|would run|plain tensors"),
        ({"train_data": "gone.npz"}, "No such file"),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, said):
    with pytest.raises(ToolError, match=said):
        prune_model(PruneModelRequest(**{**BASE, **changes}))


@pytest.mark.parametrize("tool", [prune_model, distill_model])
def test_the_menu_entry_keeps_its_budget(tool):
    entry = (
        tool.tool.name
        + tool.tool.summary
        + json.dumps(input_schema(tool.tool.request), separators=(",", ":"))
    )
    assert len(entry) <= 1300

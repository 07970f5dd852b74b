"""What a teacher is worth, on rows whose labels are wrong so often that only a teacher can help."""

import importlib

import pytest

np = pytest.importorskip("numpy")
torch = pytest.importorskip("torch")


def test_a_good_teacher_helps_where_labels_are_noisy(tmp_path):
    train = importlib.import_module("optimizing_resources.tools._compression.engine.train")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1200, 6)).astype("float32")
    truth = (x[:, 0] * x[:, 1] > 0).astype("int64")
    labels = np.where(rng.random(1200) < 0.4, 1 - truth, truth)
    np.savez(tmp_path / "train.npz", x=x, y=labels)
    data = train.Rows({"train_data": str(tmp_path / "train.npz"), "threads": 1}, ["x"])
    teacher = torch.from_numpy(np.stack([1 - truth, truth], 1) * 6.0).float()
    right = {}
    for share in (0.0, 0.7):
        data.soft = teacher if share else None
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(6, 48), torch.nn.ReLU(), torch.nn.Linear(48, 2))
        train.fit(
            net, data, train.LOSSES["cross_entropy"], seed=0, seconds=60, start="fresh", soft_share=share,
            kind="cross_entropy", steps=600,
        )  # fmt: skip
        unseen = torch.from_numpy(rng.standard_normal((2000, 6)).astype("float32"))
        right[share] = float((net(unseen).argmax(1) == (unseen[:, 0] * unseen[:, 1] > 0)).float().mean())
    assert right[0.7] > right[0.0] + 0.1


@pytest.mark.parametrize("classes", [2, 3])
def test_a_boosted_student_learns_any_number_of_classes(classes, tmp_path):
    lightgbm, onnxruntime = pytest.importorskip("lightgbm"), pytest.importorskip("onnxruntime")
    boost = importlib.import_module("optimizing_resources.tools._compression.engine.boost")
    x = np.random.default_rng(0).standard_normal((600, 4)).astype("float32")
    y = np.digitize(x[:, 0], [0.0, 0.7][: classes - 1])
    np.save(tmp_path / "y.search.npy", y[500:])
    request = {
        "folder": str(tmp_path), "metric": "accuracy", "train_seconds": 60, "seeds": 1, "threads": 1, "higher": True,
        "loss": "cross_entropy",
    }  # fmt: skip
    student = boost.Task(request, lightgbm, x[:500], y[:500], x[500:]).train("student", y[:500])
    assert student["search_metric_by_seed"][0] > 0.9
    (tmp_path / "own.py").write_text("def columns(p, y):\n    return p.shape[1]\n")
    own = {"metric": "own.py:columns", "metric_file": str(tmp_path / "own.py"), "metric_function": "columns"}
    task = boost.Task({**request, **own, "root": str(tmp_path)}, lightgbm, x[:500], y[:500], x[500:])
    assert task.train("student", y[:500])["search_metric_by_seed"] == [classes]
    session = onnxruntime.InferenceSession(student["artifact"]["path"], providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": x[500:]})[0].shape == (100, classes)


@pytest.mark.parametrize("axis", [1, -1])
def test_a_teacher_of_pixels_or_steps_is_matched_class_by_class(axis):
    train = importlib.import_module("optimizing_resources.tools._compression.engine.train")
    torch.manual_seed(0)
    out, soft = torch.randn(4, 7, 5, 3), torch.randn(4, 7, 5, 3)
    y = torch.randint(0, 3, (4, 7, 5))
    settings = (train.LOSSES["cross_entropy"], 0.7, "cross_entropy")
    wanted = train._value(out.reshape(-1, 3), y.flatten(), soft.reshape(-1, 3), *settings)
    found = train._value(out.movedim(-1, axis), y, soft.movedim(-1, axis), *settings)
    assert torch.allclose(found, wanted)


def test_a_network_from_scratch_keeps_nothing_that_was_learned():
    train = importlib.import_module("optimizing_resources.tools._compression.engine.train")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.token = torch.nn.Parameter(torch.arange(50.0))
            self.attention = torch.nn.MultiheadAttention(8, 2)

    net = Net()
    with torch.no_grad():
        net.attention.in_proj_weight.fill_(3.0)
    fresh = train.reset(net, 0)
    assert (fresh.attention.in_proj_weight != 3.0).all()
    assert not torch.equal(fresh.token, torch.arange(50.0)) and torch.equal(
        fresh.token.sort()[0], torch.arange(50.0)
    )

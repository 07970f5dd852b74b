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
    }  # fmt: skip
    student = boost.Task(request, lightgbm, x[:500], y[:500], x[500:]).train("student", y[:500])
    assert student["search_metric_by_seed"][0] > 0.9
    session = onnxruntime.InferenceSession(student["artifact"]["path"], providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": x[500:]})[0].shape == (100, classes)

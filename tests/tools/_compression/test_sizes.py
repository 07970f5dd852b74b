"""What is too large is refused before it is read, and every file of a model is known."""

import pytest
from optimizing_resources.tools._compression import sizes
from optimizing_resources.tools._compression.intake import find_data
from optimizing_resources.tools._compression.sources import find_source
from optimizing_resources.tools._core.contract import ToolError
from optimizing_resources.tools._core.workspace import Workspace

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize("name", ["big.onnx", "big.joblib", "big.txt", "weights.pt"])
def test_a_file_above_two_gibibytes_is_refused_before_it_is_read(name, tmp_path):
    (tmp_path / "net.py").write_text("def make(): ...", encoding="utf-8")
    with (tmp_path / name).open("wb") as file:
        file.truncate(3 * 1024**3)  # sparse: no disk is used
    model, weights = ("net.py:make", name) if name == "weights.pt" else (name, None)
    with pytest.raises(ToolError, match="larger than 2 GiB"):
        find_source(model, weights, True, Workspace(tmp_path))


def test_rows_that_are_no_archive_or_do_not_fit_into_memory_are_refused_before_they_are_read(
    tmp_path, monkeypatch
):
    with (tmp_path / "big.npz").open("wb") as file:
        file.truncate(3 * 1024**3)
    with pytest.raises(ToolError, match=r"no whole \.npz"):
        find_data("big.npz", Workspace(tmp_path))
    np.savez_compressed(tmp_path / "rows.npz", x=np.zeros((4096, 4096)), y=np.zeros(4096))
    assert find_data("rows.npz", Workspace(tmp_path))
    monkeypatch.setattr(sizes, "ROWS_SHARE", 1e-6)  # as if little memory were free
    with pytest.raises(ToolError, match=r"does not fit into memory \(saw 128\.0 MiB unpacked"):
        find_data("rows.npz", Workspace(tmp_path))


@pytest.mark.parametrize("location", ["net.onnx.data", "weights.bin", "deep/" + "w" * 150])
def test_weights_beside_the_file_are_part_of_the_model_under_any_name(location, tmp_path, make_network):
    beside = tmp_path / location
    beside.parent.mkdir(exist_ok=True)
    onnx.save(
        make_network(), tmp_path / "net.onnx", save_as_external_data=True, location=location, size_threshold=0
    )
    assert find_source("net.onnx", None, False, Workspace(tmp_path)).files == [tmp_path / "net.onnx", beside]

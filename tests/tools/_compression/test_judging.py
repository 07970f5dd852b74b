"""How a drop is bounded, how rows are cut, and what the picture shows."""

import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizing_resources.tools._compression import finish, race
from optimizing_resources.tools._compression.arguments import read_budget
from optimizing_resources.tools._compression.choose import Outcome, choose
from optimizing_resources.tools._compression.limits import Limits
from optimizing_resources.tools._compression.nouns import Candidate
from optimizing_resources.tools._compression.pace import Pace
from optimizing_resources.tools._compression.picture import draw
from optimizing_resources.tools._compression.search import Metric
from optimizing_resources.tools._compression.shortlist import finalists
from optimizing_resources.tools._compression.table import candidates
from optimizing_resources.tools._core.contract import ToolError

np = pytest.importorskip("numpy")


def engine(name):
    import importlib

    return importlib.import_module(f"optimizing_resources.tools._compression.engine.{name}")


@given(st.integers(60, 3000), st.integers(2, 40))
def test_the_three_parts_never_share_a_row_and_keep_their_order(count, width):
    rows = engine("rows")
    x = np.random.default_rng(0).standard_normal((count, width)).astype("float32")
    parts, _ = rows.split({"x": x}, np.zeros(count))
    a, b, c = (parts[name] for name in rows.PARTS)
    assert max(a) < min(b) and max(b) < min(c) and len(c) >= len(b) >= len(a) > 0


def test_windows_of_one_series_are_kept_a_window_apart():
    rows = engine("rows")
    series = np.random.default_rng(0).standard_normal(2000).astype("float32")
    x = np.stack([series[i : i + 50] for i in range(1900)])
    parts, cut = rows.split({"x": x}, np.zeros(len(x)))
    assert cut["window"] == 50
    assert parts["search"][0] - parts["calibration"][-1] > 50
    assert parts["confirmation"][0] - parts["search"][-1] > 50


def test_rows_sorted_by_label_are_dealt_out_so_that_every_part_sees_every_class():
    y = np.repeat(np.arange(5), 200)
    parts, cut = engine("rows").split({"x": np.zeros((1000, 3), "float32")}, y)
    assert cut["order"].startswith("dealt")
    assert all(set(y[part]) == set(range(5)) for part in parts.values())


def test_the_bound_of_a_drop_is_never_below_the_drop_and_covers_the_true_one():
    judge = engine("judge")
    rng, missed = np.random.default_rng(0), 0
    for _ in range(60):  # accuracy truly falls by 2 points; 300 rows see something near it
        base = (rng.random(300) < 0.9).astype(float)
        candidate = np.where(rng.random(300) < 0.02 / 0.9, 0.0, 1.0) * base
        least, point, bound = judge.drop_bounds("accuracy", base, candidate, 1)
        assert least <= point <= bound
        missed += bound < 0.02
    assert missed / 60 <= 0.2  # 95 % nominal; the bootstrap of few flips is a little optimistic


def test_a_model_that_one_constant_answer_would_match_is_told():
    told = engine("judge").worse_than_constant
    assert told("accuracy", 0.9, np.arange(100) % 4) is None
    assert "check that rows and targets belong together" in told("accuracy", 0.25, np.arange(100) % 4)
    assert told("mae", 0.5, np.arange(9.0)) is None
    assert "hardly better than one constant answer (2.222)" in told("mae", 2.5, np.arange(9.0))


def test_a_drop_that_may_be_noise_is_raced_after_those_within_the_budget():
    def row(speed, least, drop):
        return {"ratio": {"1": speed}, "finite": True, "status": "", "drop_least": least, "drop": drop}

    rows = {"noisy": row(2.0, 0.0, 0.012), "lost": row(2.1, 0.04, 0.05), "sound": row(1.9, 0.0, 0.0)}
    assert finalists(rows, [1], 0.01, Limits(), set()) == ["sound", "noisy"]


@pytest.mark.parametrize(("bound", "winner"), [(0.0, "plain"), (0.5, "taught")])
def test_a_lesser_twin_wins_only_where_its_better_one_is_not_confirmed(bound, winner):
    def row():
        return {"ratio": {"1": 2.0}, "finite": True, "drop": 0.0, "metric": 1.0}

    search = SimpleNamespace(
        rows={"taught": row(), "plain": row()},
        batch_sizes=[1],
        metric=Metric("accuracy", True, {"share": 0.01}),
    )
    raced = {
        "control": {"ratio": {"1": 1.0}, "clock": {"1": "wall"}},
        "taught": {"drop_bound": 0.0}, "plain": {"drop_bound": bound},
    }  # fmt: skip
    outcome = choose(search, raced, Limits(), {"metric": 1.0}, {"taught": ("plain", "no difference")})
    assert outcome.overall == winner


def test_a_finalist_that_the_time_was_too_short_for_is_not_tried_rather_than_slower():
    def row():
        return {"ratio": {"1": 2.0}, "finite": True, "drop": 0.0, "metric": 1.0, "runtime": "onnxruntime"}

    search = SimpleNamespace(
        rows={"judged": row(), "timed": row(), "left": {**row(), "unraced": True}, "slow": row()},
        batch_sizes=[1],
        metric=Metric("accuracy", True, {"share": 0.01}),
    )
    raced = {
        "control": {"ratio": {"1": 1.0}, "clock": {"1": "wall"}},
        "judged": {"drop_bound": 0.0},
        "timed": {},
    }
    search.rows["noisy"] = {**row(), "drop": 0.5, "unraced": True}
    choose(search, raced, Limits(), {"metric": 1.0}, {})
    status = {name: row["status"] for name, row in search.rows.items()}
    assert status == {
        "judged": "chosen", "timed": "not_tried", "left": "not_tried", "noisy": "not_tried", "slow": "slower",
    }  # fmt: skip
    rows = {candidate.variant: candidate.metric_rows for candidate in candidates(search.rows)}
    assert rows["judged"] == "confirmation" and rows["timed"] == rows["left"] == "search"


def test_only_confirmation_rows_give_the_bound_that_confirms(tmp_path):
    evaluate = engine("measure")._evaluate
    for part in ("search", "confirmation"):
        np.save(tmp_path / f"baseline.{part}.npy", np.eye(3))
        np.save(tmp_path / f"y.{part}.npy", np.arange(3))
    request = {"folder": str(tmp_path), "variant": "v", "metric": "accuracy", "block": 1}
    assert "drop_bound" not in evaluate(request, np.eye(3), "search")
    assert evaluate(request, np.eye(3), "confirmation")["drop_bound"] == 0


def test_a_gain_within_the_tie_band_is_no_faster_file_for_its_batch_size():
    search = SimpleNamespace(
        rows={"near": {"ratio": {"1": 1.04, "64": 1.12}, "finite": True, "drop": 0.0, "metric": 1.0}},
        batch_sizes=[1, 64],
        metric=Metric("accuracy", True, {"share": 0.01}),
    )
    raced = {"control": {"ratio": {"1": 1.1, "64": 1.0}, "clock": {}}, "near": {"drop_bound": 0.0}}
    outcome = choose(search, raced, Limits(), {"metric": 1.0}, {})
    assert outcome.overall is None and outcome.by_batch == {"1": None, "64": "near"}
    assert search.rows["near"]["status"] == "chosen"


def test_a_finalist_that_takes_the_race_down_is_the_only_one_lost(monkeypatch):
    def run(search, names):
        if "bad" in names:
            raise ToolError("The child process was ended by SIGSEGV")
        return {"control": {}, **{name: {"finite": True, "drop_bound": 0.0} for name in names}}

    monkeypatch.setattr(race, "race", run)
    search = SimpleNamespace(rows={"good": {}, "bad": {}})
    assert race._race_apart(search, ["bad", "good"])["good"]["finite"]
    assert search.rows["bad"]["status"] == "crashed" and not search.rows["good"]


def test_a_race_takes_as_many_finalists_as_there_is_time_for_and_its_reserve_grows_with_the_pace():
    rows = {name: {"ratio": {"1": speed}} for name, speed in (("a", 3.0), ("b", 2.0), ("c", 0.1))}
    pace = Pace(1.0, 6.0, {"1": 0.01})
    alone = pace.race_seconds([rows["a"]["ratio"]])
    assert pace.field(["a", "b", "c"], rows, alone) == ["a"] and pace.field(["a", "b", "c"], rows, 1e3) == [
        *rows
    ]
    assert pace.field(["c"], rows, alone) == []  # sixty seconds for its confirmation rows
    slower = Pace(10.0, 60.0, {"1": 0.1})
    assert pace.reserve_seconds(120) < slower.reserve_seconds(120) <= 0.5 * 120
    assert slower.variant_seconds("dynamic") > pace.variant_seconds("dynamic")
    assert (
        replace(pace, score_seconds=30.0).field(["a", "b"], rows, 2 * alone) == []
    )  # a slow metric of the caller's


def test_scores_are_judged_where_a_classifier_gives_labels_first(tmp_path):
    onnx, helper = pytest.importorskip("onnx"), pytest.importorskip("onnx").helper
    pytest.importorskip("onnxruntime")
    graph = helper.make_graph(
        [helper.make_node("ArgMax", ["x"], ["y"], axis=1, keepdims=0), helper.make_node("Relu", ["x"], ["scores"])],
        "net", [helper.make_tensor_value_info("x", 1, ["batch", 4])],
        [helper.make_tensor_value_info("y", 7, ["batch"]), helper.make_tensor_value_info("scores", 1, ["batch", 4])],
    )  # fmt: skip
    x, models = np.eye(4, dtype="float32"), []
    for kept in (2, 1):  # both outputs, then the label alone
        del graph.output[kept:]
        path = str(tmp_path / f"{kept}.onnx")
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
        models.append(engine("runners").load({"runtime": "onnxruntime", "path": path}, 1)({"x": x}))
    assert np.array_equal(models[0], x)
    assert [engine("judge").metric_value("accuracy", found, np.arange(4)) for found in models] == [1.0, 1.0]


@pytest.mark.parametrize("axis", [1, -1])
def test_a_label_for_every_pixel_is_judged_whichever_axis_holds_the_classes(axis):
    judge, y = engine("judge"), np.arange(4 * 6 * 5).reshape(4, 6, 5) % 3
    scores = np.moveaxis(np.eye(3)[y], -1, axis)
    assert judge.check_targets("accuracy", scores, y).shape == y.shape
    assert judge.metric_value("accuracy", scores, y) == 1
    y[:, :, 0] = (y[:, :, 0] + 1) % 3
    assert judge.metric_value("accuracy", scores, y) == pytest.approx(0.8)


def test_equal_predictions_have_a_drop_of_exactly_nothing():
    assert engine("judge").drop_bounds("mae", np.ones(50), np.ones(50), 7) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("text", "budget"), [("1%", {"share": 0.01}), ("0.5 %", {"share": 0.005}), (0.02, {"absolute": 0.02})]
)
def test_a_budget_is_a_share_or_a_number(text, budget):
    assert read_budget(text) == budget


def test_a_level_that_moves_on_is_seen_and_a_steady_one_is_not(tmp_path):
    stress = engine("stress")
    x = np.random.default_rng(0).standard_normal((400, 12, 1)).astype("float32")
    parts = {"calibration": np.arange(100), "confirmation": np.arange(200, 400)}
    moving = x + np.linspace(0, 8, 400, dtype="float32")[:, None, None]

    def last(feeds):
        return feeds["x"][:, -1]

    assert not stress.save(str(tmp_path), {"x": x}, parts, last, 64, "mae")
    assert stress.save(str(tmp_path), {"x": moving}, parts, last, 64, "mae")
    later = np.load(tmp_path / "input0.stress.npy")
    assert later.mean() > moving[parts["confirmation"]].mean() + 3
    np.save(tmp_path / "baseline.confirmation.npy", last({"x": moving[parts["confirmation"]]}))
    np.save(tmp_path / "y.confirmation.npy", last({"x": moving[parts["confirmation"]]}))
    request = {"folder": str(tmp_path), "metric": "mae", "names": ["x"], "evaluation_batch": 64}
    top = moving[parts["confirmation"]].max()
    assert stress.drop(request, lambda feeds: last(feeds)) == 0
    assert stress.drop(request, lambda feeds: np.minimum(last(feeds), top)) > 1  # clips, as static int8 does


def test_thresholds_are_rounded_so_that_float_rows_take_the_same_path():
    trees = engine("trees")
    rng = np.random.default_rng(0)
    for value in rng.standard_normal(500) * 10.0 ** rng.integers(-30, 30, 500):
        threshold = trees.floor_float32(value)
        near = np.float32(value)
        for x in (near, np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))):
            assert (float(x) <= value) == (x <= np.float32(threshold))


def test_the_picture_is_an_svg_that_names_every_measured_candidate():
    def candidate(name, status, milliseconds, metric):
        return Candidate(
            variant=name,
            status=status,
            metric=metric,
            latency_seconds={"1": milliseconds / 1000},
            reason="a < b & c",
        )

    rows = [candidate("int8", "chosen", 1, 0.9), candidate("fp16", "slower", 3, 0.91)]
    text = draw(candidate("fp32", "confirmed", 3, 0.91), rows, 1, "accuracy", higher=True)
    root = ElementTree.fromstring(text)
    labels = "".join(root.itertext())
    assert all(name in labels for name in ("int8", "fp16", "fp32")) and "http" not in text.split(">", 1)[1]


def test_on_a_busy_machine_processor_time_compares_and_on_a_quiet_one_the_wall_clock():
    clock = engine("clock")

    def times(seconds, waited):
        found = clock.Times()
        found.wall, found.processor = [seconds * waited] * 5, [seconds] * 5
        return found

    held_up = {"baseline": times(0.04, waited=6.0), "int8": times(0.02, waited=13.0)}
    assert clock.ratios(held_up, threads=1) == ({"baseline": 1.0, "int8": 2.0}, "processor")
    assert clock.ratios(held_up, threads=2)[1] == "wall"  # threads add up, latency does not
    quiet = {
        "baseline": times(0.04, waited=1.01),
        "int8": times(0.02, waited=1.5),
    }  # hands its calls to a thread
    assert clock.ratios(quiet, threads=1)[1] == "wall"
    assert clock.ratios(quiet, threads=1)[0]["int8"] == pytest.approx(0.04 * 1.01 / 0.03)


@pytest.mark.parametrize(
    ("seconds", "same", "calls"), [(0.0, False, 2 + 2 * 60), (60.0, False, 2 + 2 * 300), (0.0, True, 2)]
)
def test_a_slow_metric_of_the_callers_is_bounded_by_fewer_resamples(
    seconds, same, calls, tmp_path, monkeypatch
):
    judge = engine("judge")
    monkeypatch.setattr(judge, "SCORE_SECONDS", seconds)
    (tmp_path / "own.py").write_text(
        "COUNT = []\ndef mean(p, y):\n    COUNT.append(1)\n    return float((p == y).mean())\n"
    )
    arrays = {
        "targets": np.arange(90) % 3,
        "baseline": np.arange(90) % 3,
        "predictions": np.arange(90) % (3 if same else 2),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    request = {name: str(tmp_path / f"{name}.npy") for name in arrays}
    request |= {"file": str(tmp_path / "own.py"), "function": "mean", "root": str(tmp_path)}
    found = judge.score({**request, "higher": True, "bound": True, "block": 1}, None)
    assert len(sys.modules["own"].COUNT) == calls
    assert found["drop"] <= found["drop_bound"] and found["bound_seconds"] > 0


@pytest.mark.parametrize(("cold", "told"), [(2.7, True), (5.2, False)])
def test_a_gain_that_lives_in_the_cache_is_told_apart(cold, told):
    search = SimpleNamespace(rows={"int8": {"ratio": {"1": 5.6}, "cold_ratio": cold}}, batch_sizes=[1])
    warnings = list(finish._cold_calls(search, Outcome("int8", {"1": "int8"}, 0.03, {})))
    assert bool(warnings) == told and (not told or "it was 2.70x" in warnings[0])
    assert not list(finish._cold_calls(search, Outcome(None, {"1": None}, 0.03, {})))
    calls = {"baseline": lambda: None, "int8": lambda: None}
    assert set(engine("clock").cold_ratios(calls, 1)) == set(calls)

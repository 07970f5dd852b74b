"""compare_baselines: measures as utilsforecast defines them, models as their libraries run them, honest verdicts."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from optimizing_resources.tools._core.contract import CALL, Call, ToolError
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools._series.methods import wish
from optimizing_resources.tools.compare_baselines import CompareBaselinesRequest, compare_baselines, run_cells
from optimizing_resources.tools.compare_baselines.backtest import Cell, run_cell
from optimizing_resources.tools.compare_baselines.compare_file import compare_file
from optimizing_resources.tools.compare_baselines.folds import (
    MOST_ORIGINS,
    Fold,
    roll,
    roll_more,
    short_of_seasons,
)
from optimizing_resources.tools.compare_baselines.metrics import score
from optimizing_resources.tools.compare_baselines.models.boosted import settings as boosted_settings
from optimizing_resources.tools.compare_baselines.models.forecast import LEVELS, Forecast, Task
from optimizing_resources.tools.compare_baselines.models.menu import MENU
from optimizing_resources.tools.compare_baselines.panel import Line
from optimizing_resources.tools.compare_baselines.recommend import recommend
from optimizing_resources.tools.compare_baselines.verdict import (
    ERROR_RATE,
    Change,
    change_anywhere,
    change_here,
    error_rate_left,
    holds,
)

pd = pytest.importorskip("pandas")
pytest.importorskip("statsforecast")
Compare = Callable[..., dict[str, Any]]


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Run the engine here, without its child process."""

    def work(table: Any, **asked: Any) -> dict[str, Any]:
        path = tmp_path / "in.parquet"
        table.to_parquet(path, index=False)
        request = CompareBaselinesRequest(path=path, **asked).model_dump(mode="json")
        return compare_file({**request, "partial": str(tmp_path / "partial.json")}, lambda *_: None)

    return work


def seasonal(series: int = 12, steps: int = 60, noise: float = 1.0) -> list[Any]:
    rng = np.random.default_rng(0)
    wave = 10 * np.sin(2 * np.pi * np.arange(steps) / 12)
    return [100 + wave * (1 + i / series) + noise * rng.normal(size=steps).cumsum() for i in range(series)]


def as_table(lines: list[Any], start: str = "2015-01-01") -> Any:
    frames = [
        pd.DataFrame({"unique_id": f"s{i}", "ds": pd.date_range(start, periods=len(y), freq="MS"), "y": y})
        for i, y in enumerate(lines)
    ]
    return pd.concat(frames, ignore_index=True)


def test_measures_agree_with_utilsforecast() -> None:
    losses = pytest.importorskip("utilsforecast.losses")
    rng = np.random.default_rng(1)
    train, test = [rng.normal(50, 5, 40) for _ in range(5)], rng.normal(50, 5, (5, 6))
    mean, spread = test + rng.normal(size=(5, 6)), np.sort(rng.normal(50, 5, (5, 9, 6)), axis=1)
    found = score(Fold(0, list(range(5)), list("abcde"), train, train, test), Forecast(mean, spread), 12)
    ids = np.repeat(list("abcde"), 6)
    frame = pd.DataFrame(
        {"unique_id": ids, "ds": np.tile(np.arange(40, 46), 5), "y": test.ravel(), "m": mean.ravel()}
    )
    for k in range(9):
        frame[f"q{k}"] = spread[:, k].ravel()
    before = pd.DataFrame(
        {
            "unique_id": np.repeat(list("abcde"), 40),
            "ds": np.tile(np.arange(40), 5),
            "y": np.concatenate(train),
        }
    )
    for name in ("mase", "rmsse"):
        expected = getattr(losses, name)(frame, ["m"], seasonality=12, train_df=before)["m"]
        np.testing.assert_allclose(found[name], expected)
    np.testing.assert_allclose(found["smape"], 200 * losses.smape(frame, ["m"])["m"])
    crps = losses.scaled_crps(frame, {"m": [f"q{k}" for k in range(9)]}, quantiles=np.array(LEVELS))["m"]
    np.testing.assert_allclose(found["crps"], crps)


@pytest.mark.parametrize("name", ["seasonal_naive", "drift", "auto_ets", "auto_theta", "croston", "tsb"])
def test_statistical_models_equal_direct_library_calls(name: str) -> None:
    models = pytest.importorskip("statsforecast.models")
    from statsforecast import StatsForecast

    direct = {
        "seasonal_naive": models.SeasonalNaive(season_length=12), "drift": models.RandomWalkWithDrift(),
        "auto_ets": models.AutoETS(season_length=12), "auto_theta": models.AutoTheta(season_length=12),
        "croston": models.CrostonSBA(), "tsb": models.TSB(alpha_d=0.1, alpha_p=0.1),
    }[name]  # fmt: skip
    lines = seasonal(3)
    table = as_table(lines)
    level = None if name in ("croston", "tsb") else [80]
    expected = StatsForecast(models=[direct], freq="MS").forecast(df=table, h=6, level=level)
    mine = MENU[name].run(Task(lines, 6, 12))
    np.testing.assert_allclose(mine.mean.ravel(), expected.iloc[:, 2], rtol=1e-6)
    if level:
        np.testing.assert_allclose(
            mine.quantiles[:, 0].ravel(), expected.filter(like="lo-80").iloc[:, 0], rtol=1e-6
        )


def test_lightgbm_equals_a_direct_mlforecast_call() -> None:
    lgb, mlforecast = pytest.importorskip("lightgbm"), pytest.importorskip("mlforecast")
    from mlforecast.target_transforms import Differences, LocalStandardScaler

    lines = seasonal(6)
    asked = boosted_settings(Task(lines, 6, 12))
    model = mlforecast.MLForecast(
        models=[lgb.LGBMRegressor(**asked["boosting"])], freq="MS", lags=asked["lags"],
        target_transforms=[Differences(asked["differences"]), LocalStandardScaler()],
    )  # fmt: skip
    expected = model.fit(as_table(lines), static_features=[]).predict(6)["LGBMRegressor"]
    np.testing.assert_allclose(MENU["lightgbm"].run(Task(lines, 6, 12)).mean.ravel(), expected, rtol=1e-6)


def test_dlinear_finds_the_least_squares_map_when_trained_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from optimizing_resources.tools.compare_baselines.models import dlinear as module

    lines = [10 + np.sin(np.arange(80) / 3 + i) * (1 + i) for i in range(8)]
    monkeypatch.setattr(module, "STEPS", 6000)
    monkeypatch.setattr(module, "RATE", 0.02)
    forecast = module.dlinear(Task(lines, 4, 12)).mean
    exact = np.array([10 + np.sin(np.arange(80, 84) / 3 + i) * (1 + i) for i in range(8)])
    np.testing.assert_allclose(forecast, exact, atol=0.05)


def test_no_fold_trains_on_what_it_is_scored_on() -> None:
    line = Line("a", np.arange(60.0), None)
    for fold in roll([line], horizon=6, season=12, folds=4):
        assert fold.train[0][-1] + 1 == fold.test[0, 0] and len(fold.test[0]) == 6


def test_a_hole_is_bridged_from_before_the_cut_only_and_never_scored() -> None:
    y = np.arange(40.0)
    y[[33, 34, 35, 37]] = np.nan
    (fold,) = roll([Line("a", y, None)], horizon=5, season=1, folds=1)
    assert fold.train[0][-1] == 32.0 and np.isnan(fold.test[0, 2])
    found = score(fold, Forecast(np.full((1, 5), 36.0)), 1)
    np.testing.assert_allclose(found["mase"], (0 + 2 + 3) / 3)


def here(plain: Any, augmented: Any) -> Change:
    found = change_here(plain, augmented)
    assert found is not None
    return found


def anywhere(plain: Any, augmented: Any) -> Change:
    found = change_anywhere(plain, augmented)
    assert found is not None
    return found


@pytest.mark.parametrize("model", ["dlinear", "lightgbm"])
def test_exact_copies_help_nobody(model: str) -> None:
    folds = roll([Line(str(i), y, None) for i, y in enumerate(seasonal())], 6, 12, 2)
    plain = run_cell(Cell(MENU[model], is_judged=True), folds, 6, 12, 0).by_line(folds, 12, "mase")
    copied = run_cell(Cell(MENU[model], wish("identity")), folds, 6, 12, 0)
    found = here(plain, copied.by_line(folds, 12, "mase"))
    assert found.verdict(ERROR_RATE) == "cannot tell" and abs(found.percent) < 1e-9


@pytest.mark.parametrize("measure", [here, anywhere])
def test_a_no_op_is_called_a_help_in_at_most_five_per_cent_of_trials(measure: Callable[..., Change]) -> None:
    rng, helps = np.random.default_rng(0), 0
    for _ in range(400):
        plain = rng.lognormal(0, 0.5, (1, 3, 40))
        helps += measure(plain, plain + rng.standard_t(3, (2, 3, 40)) * 0.05).verdict(ERROR_RATE) == "helps"
    assert helps <= 20


@pytest.mark.parametrize("is_steady", [True, False])
def test_the_luck_of_whole_fits_is_not_called_a_help(is_steady: bool) -> None:
    rng, helps = np.random.default_rng(0), 0
    for _ in range(400):
        true = rng.lognormal(0, 0.5, (1, 3, 40))
        luck = rng.normal(0, 0.02, (4, 3, 1))
        own = rng.normal(0, 0.02, (1 if is_steady else 4, 3, 1)) * (not is_steady)
        helps += here(true * (1 + own), true * (1 + luck)).verdict(ERROR_RATE) == "helps"
    assert helps <= 20


def test_a_clear_change_is_seen_and_its_sign_is_right() -> None:
    rng = np.random.default_rng(0)
    plain = rng.lognormal(0, 0.5, (1, 3, 40))
    noise = rng.normal(0, 0.02, (2, 3, 40))
    for measure in (here, anywhere):
        assert measure(plain, plain * 0.97 + noise).verdict(ERROR_RATE / 6) == "helps"
        assert measure(plain, plain * 1.03 + noise).verdict(ERROR_RATE / 6) == "hurts"
        assert measure(plain[:, :, :4], plain[:, :, :4] * 0.9).verdict(ERROR_RATE) == "cannot tell"


def test_many_verdicts_share_one_error_rate_and_clear_ones_spare_the_rest() -> None:
    assert error_rate_left([0.2, 0.5, 0.9, 0.03]) == ERROR_RATE / 4
    assert error_rate_left([0.001, 0.001, 0.024, 0.9]) == ERROR_RATE / 2
    assert error_rate_left([0.001, 0.02]) == error_rate_left([]) == ERROR_RATE


def test_a_change_that_turns_with_the_origin_is_a_finding_here_and_none_elsewhere() -> None:
    rng = np.random.default_rng(0)
    plain = rng.lognormal(0, 0.5, (1, 6, 60))
    by_origin = np.array([0.9, 1.02, 0.92, 1.06, 0.88, 1.08])[None, :, None]
    assert here(plain, plain * by_origin).verdict(ERROR_RATE) == "helps"
    assert anywhere(plain, plain * by_origin).verdict(ERROR_RATE) == "cannot tell"
    assert anywhere(plain, plain * 0.9).verdict(ERROR_RATE) == "helps"
    assert holds("helps", "cannot tell") == "cannot tell" and holds("helps", "helps") == "yes"
    assert holds("helps", "hurts") == "no" and holds("cannot tell", "helps") is None


def test_further_origins_lie_beside_the_asked_ones_and_leave_enough_to_learn_from() -> None:
    lines = [Line("a", np.arange(400.0), None)]
    asked, more = roll(lines, 24, 24, 3), roll_more(lines, 24, 24, 3)
    assert len(asked) + len(more) == MOST_ORIGINS and not {f.back for f in asked} & {f.back for f in more}
    assert min(len(f.train[0]) for f in more) > 48
    assert not roll_more([Line("a", np.arange(30.0), None)], 18, 12, 3)


def test_less_than_two_seasons_keep_origins_apart_and_are_told() -> None:
    weeks = [Line("a", np.arange(90.0), None)]
    folds = roll(weeks, 8, 52, 3)
    assert [fold.back for fold in folds] == [24, 16, 8]
    (told,) = short_of_seasons(weeks, folds, 8, 52)
    assert "less than two seasons of 52" in told
    close = roll([Line("a", np.arange(30.0), None)], 10, 1, 5)
    assert (
        "1 of the horizon's 10 steps" in short_of_seasons([Line("a", np.arange(30.0), None)], close, 10, 1)[0]
    )


def test_table_verdict_and_forecast_of_a_whole_comparison(compare: Compare) -> None:
    reply = compare(
        as_table(seasonal()), horizon=6, models=["seasonal_naive", "drift", "dlinear"], augment=["jitter"]
    )
    assert reply["season"] == 12 and reply["folds"] == 3
    rows = {(r["model"], r["augmentation"]): r for r in reply["table"]}
    assert set(rows) == {
        ("seasonal_naive", "none"),
        ("drift", "none"),
        ("dlinear", "none"),
        ("dlinear", "jitter"),
    }
    assert rows["dlinear", "none"]["crps"] is None and rows["drift", "none"]["crps"] > 0
    assert (
        rows["drift", "none"]["peak_rss_bytes"] > 1e7
        and rows["drift", "none"]["mase"] > rows["seasonal_naive", "none"]["mase"]
    )
    (verdict,) = reply["verdict"]
    assert verdict["interval"][0] <= verdict["difference"] <= verdict["interval"][1]
    lines = reply["forecast"].splitlines()
    assert (
        lines[0] == "unique_id,ds,mean,lo-80,hi-80"
        and lines[1].startswith("s0,2020-01-01,")
        and len(lines) == 1 + 12 * 6
    )
    low, mean, high = (float(lines[1].split(",")[k]) for k in (3, 2, 4))
    assert low < mean < high


def test_columns_that_no_model_sees_are_named(compare: Compare) -> None:
    table = as_table(seasonal()[:2]).assign(holiday=0)
    reply = compare(table, horizon=6, models=["drift"], target_column="y")
    assert any("holiday" in told for told in reply["warnings"])


def test_one_series_gets_no_verdict_and_is_told_so(compare: Compare) -> None:
    reply = compare(as_table(seasonal()[:1]), horizon=6, models=["dlinear"], augment=["jitter"])
    assert reply["verdict"] == [] and "Fewer than 5 series" in reply["warnings"][0]


def test_pre_training_is_judged_against_the_same_model_without_it(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optimizing_resources.tools.compare_baselines.models import dlinear as module

    monkeypatch.setattr(module, "_CORPUS", 16)  # fifteen times as fast
    monkeypatch.setattr(module, "_pre_trained", module._pre_trained.__wrapped__)
    reply = compare(as_table(seasonal()), horizon=6, models=["dlinear", "dlinear_transfer"])
    rows = {r["model"]: r for r in reply["table"]}
    (verdict,) = reply["verdict"]
    assert (verdict["model"], verdict["augmentation"], verdict["against"]) == (
        "dlinear_transfer", "none", "dlinear"
    )  # fmt: skip
    expected = 100 * (rows["dlinear_transfer"]["mase"] / rows["dlinear"]["mase"] - 1)
    assert verdict["difference"] == pytest.approx(expected, abs=0.01) and expected != 0
    lasting = verdict["elsewhere"]["verdict"] == "helps"
    assert reply["recommended"]["model"] == ("dlinear_transfer" if lasting else "dlinear")


def test_copies_for_a_pre_training_that_does_not_last_are_not_recommended() -> None:
    table = [
        {"model": m, "augmentation": a, "mase": size}
        for m, a, size in (
            ("dlinear", "none", 1.0),
            ("dlinear_transfer", "none", 0.9),
            ("dlinear_transfer", "jitter", 0.8),
        )
    ]

    def verdicts(lasting: str) -> list[dict[str, Any]]:
        return [
            {
                "model": "dlinear_transfer", "augmentation": augmentation, "against": against,
                "elsewhere": {"verdict": verdict, "difference": -10.0},
            }
            for augmentation, against, verdict in (
                ("jitter", "dlinear_transfer", "helps"), ("none", "dlinear", lasting)
            )
        ]  # fmt: skip

    assert recommend(table, verdicts("cannot tell")) == ("dlinear", "none")
    assert recommend(table, verdicts("helps")) == ("dlinear_transfer", "jitter")


def test_the_order_of_series_changes_no_figure(compare: Compare) -> None:
    table = as_table(seasonal())
    turned = pd.concat([g for _, g in reversed(list(table.groupby("unique_id")))])
    asked = {"horizon": 6, "models": ["dlinear"], "augment": ["mixup", "jitter"]}
    first, second = (compare(t, folds=1, **asked) for t in (table, turned))
    for a, b in zip(first["table"], second["table"], strict=True):
        assert a["mase"] == pytest.approx(b["mase"], abs=2e-6)


def test_bad_series_are_listed_and_never_end_the_panel(compare: Compare) -> None:
    lines = [*seasonal(6), np.full(60, 5.0), np.array([1.0, 2.0, 3.0]), np.arange(14.0), np.full(40, np.nan)]
    reply = compare(
        as_table(lines), horizon=6, models=["seasonal_naive", "auto_theta", "dlinear", "lightgbm"]
    )
    row = next(r for r in reply["table"] if r["model"] == "seasonal_naive")
    assert row["series_without_mase"] >= 1 and row["mase"] is not None and reply["series"] == 8
    listed = {f["series"] for f in reply["failures"]}
    assert {"s7", "s9"} <= listed


def test_what_copies_change_is_run_before_a_slow_bystander(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"auto_ets": 50.0, "dlinear": 20.0, "drift": 0.1}
    taken = lambda cell, *_: SimpleNamespace(seconds=lambda *_: seconds[cell.model.name])  # noqa: E731
    monkeypatch.setattr(run_cells, "time_cost", taken)
    plain = [Cell(MENU[name]) for name in ("auto_ets", "dlinear", "drift")]
    cells = [*plain, Cell(MENU["dlinear"], wish("jitter"))]
    folds = roll([Line("a", np.arange(60.0), None)], 6, 12, 3)
    chosen, _, (late,) = run_cells.choose(
        cells, folds, [], run_cells.Bounds(6, 12, 0, time.perf_counter() + 60), 60
    )
    assert chosen == cells[1:] and late["model"] == "auto_ets"


def test_what_does_not_fit_the_time_or_is_missing_is_listed_with_the_way_to_run_it(compare: Compare) -> None:
    models = ["seasonal_naive", "auto_ets", "chronos_bolt"]
    reply = compare(as_table(seasonal()), horizon=6, models=models, max_seconds=1e-6)
    why = {n["model"]: n["why"] for n in reply["not_run"]}
    (ran,) = (r["model"] for r in reply["table"])  # the one that seemed cheapest
    (late,) = {"seasonal_naive", "auto_ets"} - {ran}
    assert "max_seconds" in why[late]
    assert "pip install" in why["chronos_bolt"] or "checkpoint" in why["chronos_bolt"]


@pytest.mark.parametrize(
    ("frequency", "season", "stamp"),
    [
        ("MS", 12, "2025-01-01"), ("ME", 12, "2025-01-31"), ("QS", 4, "2035-01-01"),
        ("W", 52, "2021-02-28"), ("B", 5, "2020-03-25"), ("h", 24, "2020-01-03T12:00:00"),
    ],
)  # fmt: skip
def test_the_season_and_the_next_stamp_follow_from_the_time_steps(
    frequency: str, season: int, stamp: str, compare: Compare
) -> None:
    table = as_table([np.arange(60.0) + np.arange(60) % 3])
    table["ds"] = pd.date_range("2020-01-01", periods=60, freq=frequency)
    reply = compare(table, horizon=2, models=["drift"], folds=1)
    assert reply["season"] == season and reply["forecast"].splitlines()[1].startswith(f"s0,{stamp},")


@pytest.mark.parametrize("spelling", ["%m.%Y", "%Y%m", "%Y%m%d", "%b %Y", "%d %B %Y", "%Y/%m/%d"])
def test_months_are_months_however_they_are_written(spelling: str, compare: Compare) -> None:
    table = as_table([np.arange(60.0) + np.arange(60) % 3], start="2019-03-01")
    table["ds"] = table["ds"].dt.strftime(spelling)
    reply = compare(table, horizon=2, models=["drift"], folds=1)
    assert reply["season"] == 12 and reply["forecast"].splitlines()[1].startswith("s0,2024-03-01,")


def test_values_whose_squares_overflow_are_left_out_and_listed(compare: Compare) -> None:
    lines = [*seasonal(3), seasonal(1)[0] * 1e200, seasonal(1)[0] * 1e-200]
    reply = compare(as_table(lines), horizon=6, models=["seasonal_naive", "auto_theta", "dlinear"])
    assert reply["series"] == 3 and {f["series"] for f in reply["failures"]} == {"s3", "s4"}


def test_series_with_another_step_are_left_out_and_listed(compare: Compare) -> None:
    months, days = as_table(seasonal(2)), as_table([np.arange(300.0) + np.arange(300) % 7] * 3)
    days["unique_id"] = "d" + days["unique_id"]
    days["ds"] = [d for _ in range(3) for d in pd.date_range("2020-01-01", periods=300)]
    reply = compare(pd.concat([months, days]), horizon=6, models=["seasonal_naive"])
    assert reply["season"] == 7 and reply["series"] == 3
    assert {f["series"] for f in reply["failures"]} == {"s0", "s1"}
    assert "another step" in reply["failures"][0]["why"]


def test_stamps_with_an_offset_are_continued_with_theirs(compare: Compare) -> None:
    table = as_table([np.arange(60.0) + np.arange(60) % 24])
    table["ds"] = pd.date_range("2024-10-26", periods=60, freq="h", tz="Europe/Paris")
    reply = compare(table, horizon=2, models=["drift"], folds=1)
    assert reply["forecast"].splitlines()[1].startswith("s0,2024-10-28T10:00:00Z,")


def test_intermittent_demand_gets_its_models(compare: Compare) -> None:
    lines = [np.random.default_rng(i).poisson(0.4, 50).astype(float) for i in range(4)]
    reply = compare(as_table(lines), horizon=4, max_seconds=60)
    assert {"croston", "tsb"} <= {r["model"] for r in reply["table"]} and "intermittent" in " ".join(
        reply["warnings"]
    )


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"models": ["prophet"]}, "No such model"),
        ({"models": ["timesfm"]}, "None of the models can run here"),
        ({"augment": ["rotation"]}, "No such method"),
        ({"horizon": 200}, "horizon"),
        ({"target_column": "x"}, "No such column"),
    ],
)
def test_wrong_arguments_are_refused(asked: dict[str, Any], says: str, compare: Compare) -> None:
    with pytest.raises(ToolError, match=says):
        compare(as_table(seasonal(3)), **{"horizon": 6, "models": ["seasonal_naive"], **asked})


def labelled(series: int = 24) -> Any:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(series):
        wave = np.sin(np.arange(30) / (2 + 2 * (i % 2)) + rng.uniform(0, 6))
        rows.append(
            {
                "unique_id": f"s{i}",
                "kind": "slow" if i % 2 else "fast",
                "values": (wave + rng.normal(0, 0.1, 30)).tolist(),
            }
        )
    return pd.DataFrame(rows)


def test_classifiers_are_compared_on_labelled_series(compare: Compare) -> None:
    pytest.importorskip("numba")
    reply = compare(
        labelled(), label_column="kind", models=["knn_dtw", "lightgbm"], augment=["identity", "jitter"]
    )
    rows = {(r["model"], r["augmentation"]): r for r in reply["table"]}
    assert rows["knn_dtw", "none"]["accuracy"] > 0.9 and rows["knn_dtw", "none"]["macro_f1"] > 0.9
    verdicts = {(v["model"], v["augmentation"]): v for v in reply["verdict"]}
    assert (
        verdicts["knn_dtw", "identity"]["difference"] == 0
        and verdicts["knn_dtw", "identity"]["verdict"] == "cannot tell"
    )


def test_every_column_of_numbers_is_a_channel_of_labelled_series(compare: Compare) -> None:
    pytest.importorskip("numba")
    wide = labelled(12)
    rows = [
        {"case": r.unique_id, "t": t, "kind": r.kind, "noise": float(t % 3), "wave": v}
        for r in wide.itertuples()
        for t, v in enumerate(r.values)
    ]
    reply = compare(pd.DataFrame(rows), label_column="kind", models=["knn_dtw"])
    assert reply["series"] == 12 and reply["table"][0]["accuracy"] > 0.8
    assert "2 channels: noise, wave" in reply["warnings"]
    with pytest.raises(ToolError, match="no id column"):
        compare(pd.DataFrame(rows)[["kind", "wave"]].assign(kind=1), label_column="kind")


def test_a_class_with_one_member_is_learned_from_and_never_tested(compare: Compare) -> None:
    pytest.importorskip("numba")
    table = labelled(12)
    table.loc[0, "kind"] = "lonely"
    reply = compare(table, label_column="kind", models=["knn_dtw"])
    assert "one member" in " ".join(reply["warnings"]) and reply["table"][0]["accuracy"] > 0.5
    with pytest.raises(ToolError, match="only one class"):
        compare(table.assign(kind="same"), label_column="kind", models=["knn_dtw"])


def test_the_tool_answers_in_few_words_and_keeps_its_forecast(tmp_path: Path) -> None:
    as_table(seasonal()).to_csv(tmp_path / "in.csv", index=False)
    token = CALL.set(Call(Workspace.of_a_server(tmp_path)))
    try:
        asked = {
            "path": "in.csv",
            "horizon": 6,
            "models": ["seasonal_naive", "dlinear"],
            "augment": ["scaling"],
        }
        report = compare_baselines(CompareBaselinesRequest.model_validate(asked))
    finally:
        CALL.reset(token)
    assert report.recommended["model"] == "dlinear" and report.verdict[0]["verdict"] == "cannot tell"
    assert len(report.brief()) <= 1500 and str(report.forecast_path) in report.brief()
    assert not list(tmp_path.rglob("*.partial.json"))

"""With a latency to keep, the least harmful file that keeps it is chosen; without one, the fastest."""

from types import SimpleNamespace

import pytest
from optimizing_resources.tools._compression import race
from optimizing_resources.tools._compression.choose import choose
from optimizing_resources.tools._compression.limits import Limits
from optimizing_resources.tools._compression.search import Metric
from optimizing_resources.tools._compression.shortlist import finalists
from optimizing_resources.tools._compression.table import summarise

BASELINE_SECONDS = 4e-3


def timed(speed):
    seconds = BASELINE_SECONDS / speed
    return {"1": {"p50_seconds": seconds, "p95_seconds": 2 * seconds}}


def row(speed, bound, drift):
    return {
        "ratio": {"1": speed}, "finite": True, "drop": 0.0, "drift": {"max_abs": drift}, "metric": 0.9,
        "latency_seconds": timed(speed), "bound": bound, "size_bytes": 1, "peak_rss_bytes": 1,
    }  # fmt: skip


def opened():
    """A search whose baseline takes 4 ms (p95 8 ms), before its races."""
    rows = {
        "cut": row(6.0, 0.006, 0.5), "luck": row(4.0, -0.004, 0.3), "lossless": row(3.0, 0.0, 1e-7),
        "exact": row(2.5, 0.0, 1e-9), "same": row(1.001, 0.0, 0.0),
    }  # fmt: skip
    facts = {"metric": {"confirmation": 0.9}, "size_bytes": 1, "peak_rss_bytes": 1}
    facts["first_look"] = {"latency_seconds": timed(1.0)}
    pace = SimpleNamespace(field=lambda names, rows, left: names)
    job = SimpleNamespace(left=lambda: 100.0)
    return SimpleNamespace(
        rows=rows,
        facts=facts,
        batch_sizes=[1],
        pace=pace,
        job=job,
        metric=Metric("accuracy", True, {"share": 0.01}),
    )


def decided(limits, monkeypatch, races=None):
    def run(search, names):
        (races if races is not None else []).append(names)
        judged = {
            n: {"finite": True, "drop_bound": search.rows[n]["bound"], "ratio": search.rows[n]["ratio"]}
            for n in names
        }
        return {
            "baseline": {"latency_seconds": timed(1.0)},
            "control": {"ratio": {"1": 1.0}, "clock": {"1": "wall"}},
            **judged,
        }

    monkeypatch.setattr(race, "race", run)
    search = opened()
    raced = race.run_races(search, limits, set())
    baseline = {"metric": 0.9, "latency_seconds": timed(1.0), "size_bytes": 1, "peak_rss_bytes": 1}
    outcome = choose(search, raced, limits, baseline, {})
    return outcome, summarise(search, outcome, 0.9), search


@pytest.mark.parametrize(
    ("goal_seconds", "winner"),
    [
        (1.0, "exact"),  # kept by the model already: what is faster at no harm
        (0.003, "lossless"),
        (0.0021, "luck"),  # a rise of the metric is no reason to prefer it, but nothing else keeps this one
        (0.0015, "cut"),
        (0.001, None),
        (None, "cut"),
    ],
)
def test_the_least_harm_that_keeps_the_latency_is_chosen(goal_seconds, winner, monkeypatch):
    outcome, verdict, _ = decided(Limits(goal_seconds), monkeypatch)
    assert outcome.overall == winner and outcome.by_batch == {"1": winner}
    met = goal_seconds == 1.0
    assert (
        verdict.startswith(
            "The model as it is already meets max_latency_seconds (p95 at batch 1 is 8 of 1000"
        )
        == met
    )
    assert verdict.startswith("The baseline breaks a limit") == (goal_seconds is not None and not met)
    assert not met or "lies outside the model; to be faster still, use exact: 2.50x" in verdict


def test_a_size_limit_alone_leaves_the_choice_to_speed(monkeypatch):
    assert decided(Limits(None, 10), monkeypatch)[0].overall == "cut"


@pytest.mark.parametrize(
    ("goal_seconds", "raced"), [(0.003, ["exact", "lossless"]), (1.0, ["same", "exact"])]
)
def test_races_go_on_until_a_row_keeps_the_latency_and_gains_speed(goal_seconds, raced, monkeypatch):
    races = []
    monkeypatch.setattr("optimizing_resources.tools._compression.shortlist.FINALISTS", 1)
    outcome, _, search = decided(Limits(goal_seconds), monkeypatch, races)
    assert races == [[name] for name in raced] and outcome.overall == raced[-1]
    assert search.rows["cut"]["status"] == "slower"
    assert "others risk less" in search.rows["cut"]["reason"]


def test_a_p95_of_a_short_look_alone_keeps_no_row_from_the_race():
    rows = {"held_up": {**row(3.0, 0.0, 0.0), "status": ""}}
    assert finalists(rows, [1], 0.01, Limits(0.0015), set()) == ["held_up"]
    assert finalists(rows, [1], 0.01, Limits(0.001), set()) == []

"""A verdict is given only on what was measured well enough."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizing_resources.tools._core.contract import CALL, Call, ToolError
from optimizing_resources.tools._core.ledger import Figure, Run, append, ledger_path, new_id, open_ledger
from optimizing_resources.tools._core.spread import paired_ratio, ratio_of
from optimizing_resources.tools._core.workspace import Workspace
from optimizing_resources.tools.review_evidence import ReviewEvidenceRequest, review_evidence

GIB = 1024**3
TIMES = {"metric": "step_seconds_p50", "unit": "seconds"}


def figure(metric, *singles, unit="bytes"):
    middle = sorted(singles)[len(singles) // 2]
    return Figure(
        metric=metric,
        value=middle,
        unit=unit,
        repeats=len(singles),
        low=min(singles),
        high=max(singles),
        singles=list(singles),
    )


def seconds(*singles):
    return figure("step_seconds_p50", *singles, unit="seconds")


def steps(count):
    return figure("steps", count, unit="steps")


@pytest.fixture
def review(tmp_path):
    """Review two runs that are alike but for what is given."""
    workspace = Workspace.of_the_caller(tmp_path)
    token = CALL.set(Call(workspace))
    ledger = open_ledger(ledger_path(workspace))

    def kept(figures, outcome="stopped_at_limit", **fields):
        conditions = {"turns": "t1", "samples_per_step": 64, "git": "abc1234", **fields.pop("conditions", {})}
        usual = {"tool": "measure_run", "device": "d", "workload": "w", "taken_at": ""}
        run = Run(
            **{
                **usual,
                "id": new_id(),
                "outcome": outcome,
                "conditions": conditions,
                "figures": figures,
                **fields,
            }
        )
        append(ledger, run)
        return run.id

    def reviewed(before, after, **request):
        ids = {"before": [kept(**before)], "after": [kept(**after)]}
        return review_evidence(ReviewEvidenceRequest(**ids, **request))

    yield reviewed
    ledger.close()
    CALL.reset(token)


FASTER = ({"figures": [seconds(1.0, 1.1, 0.9)]}, {"figures": [seconds(0.5, 0.56, 0.44)]})
PLAIN_SIDE = FASTER[0]
TIME = {"constraint": "compute_time", "remedies": ["dataloader"]}


def test_a_clear_gain_over_three_turns_is_better_and_all_boxes_are_ticked(review):
    report = review(*FASTER, **TIME)
    assert report.verdict == "better"
    assert [box.ticked for box in report.boxes] == [True] * 4
    assert report.impact[0].high_ratio < 1
    assert len(report.brief()) <= 1500


def test_a_gain_inside_the_spread_is_no_difference(review):
    report = review({"figures": [seconds(1.0, 1.3, 0.8)]}, {"figures": [seconds(0.9, 1.1, 0.95)]}, **TIME)
    assert report.verdict == "no difference"


def test_one_run_a_side_cannot_tell_times(review):
    report = review({"figures": [seconds(1.0)]}, {"figures": [seconds(0.5)]}, **TIME)
    assert report.verdict == "cannot tell" and "fewer than 3 repeats" in report.reason


def test_a_loss_of_speed_is_worse(review):
    assert review(*reversed(FASTER), **TIME).verdict == "worse"


def test_memory_measured_once_is_judged_with_an_assumed_spread(review):
    peaks = [{"figures": [figure("peak_rss_bytes", size * GIB)]} for size in (4.0, 2.0, 3.9)]
    request = {"constraint": "host_memory", "remedies": ["stream_data"]}
    report = review(peaks[0], peaks[1], **request)
    assert report.verdict == "better" and report.impact[0].basis == "assumed"
    assert review(peaks[0], peaks[2], **request).verdict == "no difference"


def test_a_run_that_fits_now_under_the_same_limit_is_better(review):
    limit = {"conditions": {"memory_limit_bytes": GIB}}
    before = {"figures": [], "outcome": "out_of_memory", **limit}
    after = {"figures": [figure("peak_rss_bytes", 0.8 * GIB), steps(30)], **limit}
    request = {"constraint": "host_memory", "remedies": ["gradient_accumulation"]}
    assert review(before, after, **request).verdict == "better"
    assert review(after, before, **request).verdict == "worse"
    raised = {**after, "conditions": {"memory_limit_bytes": 2 * GIB}}
    assert review(before, raised, **request).verdict == "cannot tell"


LIMIT = {"memory_limit_bytes": GIB}
DIED = {"outcome": "out_of_memory", "figures": [figure("peak_rss_bytes", GIB), steps(40)]}
SLOW, FAST = ({"figures": [figure("wall_seconds", *(s, s * 1.02, s), unit="seconds")]} for s in (10.0, 5.0))
# Runs that look better and prove nothing: before, after, what was asked, what the answer must say.
FOOLED = {
    "stopped before the step at which it died": (
        {**DIED, "conditions": LIMIT}, {"figures": [steps(10)], "conditions": LIMIT}, "host_memory", "let it run",
    ),
    "a smaller batch than the one that died": (
        {**DIED, "conditions": {**LIMIT, "samples_per_step": None, "first_input": [128, 9]}},
        {"figures": [steps(90)], "conditions": {**LIMIT, "first_input": [32, 9], "backwards_per_step": 1}},
        "host_memory", "at least 128 against 32",
    ),
    "a smaller model": (
        {**PLAIN_SIDE, "conditions": {"parameters": 10}}, {**PLAIN_SIDE, "conditions": {"parameters": 5}},
        "compute_time", "trained parameters",
    ),
    "fewer steps": (
        {"outcome": "finished", "figures": [*SLOW["figures"], steps(100)]},
        {"outcome": "finished", "figures": [*FAST["figures"], steps(50)]}, "compute_time", "no figure",
    ),
    "another setting of threads": (
        {**PLAIN_SIDE, "conditions": {"environment": {"OMP_NUM_THREADS": "1"}}},
        {**PLAIN_SIDE, "conditions": {"environment": {"OMP_NUM_THREADS": "2"}}},
        "compute_time", "environment variables",
    ),
    "taken apart on a machine that drifts": (
        {"figures": [seconds(1.0, 1.02, 0.98)], "conditions": {"turns": None}},
        {"figures": [seconds(0.8, 0.79, 0.81)], "conditions": {"turns": None}}, "compute_time", "drift",
    ),
    "taken apart, before on a busy machine": (
        {"figures": [seconds(1.0, 1.02, 0.98)], "conditions": {"turns": None, "queued_share": 0.5}},
        {"figures": [seconds(0.3, 0.29, 0.31)], "conditions": {"turns": None}},
        "compute_time", "waited for a processor",
    ),
    "the loss is lost": (
        {**PLAIN_SIDE, "report": {"loss": [1.0, 0.9]}},
        {"figures": [seconds(0.5, 0.56, 0.44)], "report": {"loss": [1.0, None]}},
        "compute_time", "not finite",
    ),
}  # fmt: skip


@pytest.mark.parametrize("trick", FOOLED)
def test_what_looks_better_and_proves_nothing_is_not_called_better(review, trick):
    before, after, constraint, word = FOOLED[trick]
    report = review(before, after, constraint=constraint, remedies=["dataloader"])
    assert report.verdict == "cannot tell" and word in report.reason


def test_the_same_run_named_three_times_is_no_repeat(review):
    report = review(*FASTER, **TIME)
    thrice = ReviewEvidenceRequest(before=report.before * 3, after=report.after * 3, **TIME)
    assert "named twice" in review_evidence(thrice).reason


OTHER = {
    "other machines": {"device": "another"},
    "other workloads": {"workload": "another"},
    "other samples per optimizer step": {"conditions": {"samples_per_step": 16}},
    "other seeds": {"conditions": {"seed": "2"}},
    "other programs": {"conditions": {"script": {"path": "b.py", "sha256": "2", "lines": ["d", "e", "f"]}}},
}


@pytest.mark.parametrize("why", OTHER)
def test_runs_that_are_not_alike_are_not_compared(review, why):
    mine = {"conditions": {"seed": "1", "script": {"path": "a.py", "sha256": "1", "lines": ["a", "b", "c"]}}}
    report = review({**FASTER[0], **mine}, {**FASTER[1], **OTHER[why]}, **TIME)
    assert report.verdict == "cannot tell" and not report.comparable
    assert why in report.reason


def test_commands_that_differ_in_one_number_are_told_how_to_give_a_seed(review):
    sides = [
        {**side, "workload": number, "conditions": {"command": ["python", "train.py", number]}}
        for side, number in zip(FASTER, ("1", "2"), strict=True)
    ]
    assert "--seed N" in review(*sides, **TIME).reason


def test_the_patched_file_is_no_difference_of_workload_but_is_listed(review):
    lines = [str(number) for number in range(50)]
    scripts = [
        {"path": f"{name}.py", "sha256": name, "lines": [*lines, name]} for name in ("train", "patched")
    ]
    report = review(
        *({**side, "conditions": {"script": script}} for side, script in zip(FASTER, scripts, strict=True)),
        **TIME,
    )
    assert report.verdict == "better"
    assert any("script" in one for one in report.differences)


def test_a_remedy_that_changes_results_wants_a_quality_figure(review):
    request = {"constraint": "compute_time", "remedies": ["mixed_precision"]}
    assert "quality" in review(*FASTER, **request).reason
    accuracy = [
        {"figures": [*side["figures"], figure("metric:acc", *values, unit="1")]}
        for side, values in zip(FASTER, [(0.9, 0.91, 0.9), (0.9, 0.9, 0.91)], strict=True)
    ]
    assert review(*accuracy, **request).verdict == "better"


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("val_WER", "worse"),
        ("macro_f1", "better"),
        ("valAcc", "better"),
        ("images_per_second", "better"),
        ("confidence", "cannot tell"),  # holds "fid"
        ("answered", "cannot tell"),  # holds "wer"
        ("previous", "cannot tell"),  # holds "iou"
    ],
)
def test_whether_more_of_a_metric_is_better_is_read_from_whole_words_of_its_name(review, name, verdict):
    sides = [{"figures": [figure(f"metric:{name}", *v, unit="1")]} for v in [(1, 1.01, 1), (2, 2.01, 2)]]
    assert review(*sides, constraint="training_data", remedies=["augmentation"]).quality[0].verdict == verdict


def test_a_gain_that_costs_quality_is_left_to_the_user(review):
    lost = [
        {"figures": [*side["figures"], figure("metric:acc", *values, unit="1")]}
        for side, values in zip(FASTER, [(0.9, 0.91, 0.9), (0.7, 0.71, 0.7)], strict=True)
    ]
    report = review(*lost, constraint="compute_time", remedies=["mixed_precision"])
    assert report.verdict == "cannot tell" and "a trade" in report.reason


@pytest.mark.parametrize(("after", "verdict"), [(0.89, "better"), (0.7, "cannot tell")])
def test_equal_repeats_of_one_seed_are_one_measurement_of_quality(review, after, verdict):
    seeded = [
        {"figures": [*side["figures"], figure("metric:acc", *[value] * 3, unit="1")]}
        for side, value in zip(FASTER, (0.9, after), strict=True)
    ]
    report = review(*seeded, **TIME)
    assert report.verdict == verdict and "metric:acc went from 0.9" in report.reason
    assert report.quality[0].low_ratio is None and "one seed" in report.quality[0].how
    changing = review(*seeded, constraint="compute_time", remedies=["mixed_precision"])
    assert changing.verdict == "cannot tell"


def test_a_schedule_is_judged_by_the_time_to_the_same_quality(review):
    def curve(pace):
        series = {"metric_series": {"acc": [(pace * n, min(0.9, n / 10)) for n in range(12)]}}
        return {**series, "repeats": [series, series, series]}

    sides = [{**side, "report": curve(pace)} for side, pace in zip(FASTER, (1.0, 3.0), strict=True)]
    report = review(*sides, constraint="compute_time", remedies=["early_stopping"])
    assert report.impact[0].metric == "time_to_quality_seconds"
    assert (report.impact[0].before, report.impact[0].after) == (9.0, 27.0)
    assert report.verdict == "worse" or "quality" in report.reason


PEAKS = {"fits the plan": (0.5, "as"), "hardly": (0.97, "less than"), "surprising": (0.1, "more than")}


@pytest.mark.parametrize("case", PEAKS)
def test_the_effect_is_held_against_the_range_of_the_plan(review, case):
    ratio, agreement = PEAKS[case]  # the plan says 0.25 to 0.9 of the peak on the GPU
    sides = [
        {"figures": [figure("peak_gpu_bytes", *(size * GIB for size in (s, 1.01 * s, s)))]}
        for s in (8, 8 * ratio)
    ]
    report = review(*sides, constraint="gpu_memory", remedies=["gradient_accumulation"])
    (found,) = report.expected
    assert (found.expected_low_ratio, found.expected_high_ratio) == (0.25, 0.9)
    assert found.agreement == f"{agreement} expected" and agreement in report.brief()


def test_an_effect_without_a_spread_or_without_a_baseline_is_not_judged_beyond_what_it_shows(review):
    once = [{"figures": [seconds(s)]} for s in (1.0, 0.01)]
    assert review(*once, **TIME).expected[0].agreement == "cannot tell"
    limit = {"conditions": {"memory_limit_bytes": GIB}}
    died = {"figures": [figure("peak_rss_bytes", GIB)], "outcome": "out_of_memory", **limit}
    for share, agreement in ((0.2, "more than expected"), (0.6, "as expected")):
        fits = {"figures": [figure("peak_rss_bytes", share * GIB), steps(30)], **limit}
        report = review(died, fits, constraint="host_memory", remedies=["gradient_accumulation"])
        assert report.expected[0].agreement == agreement


def test_missing_evidence_is_named_box_by_box(review):
    report = review(*FASTER)
    assert [box.ticked for box in report.boxes] == [False, False, False, True]
    assert all(box.missing for box in report.boxes if not box.ticked)
    mismatch = review(*FASTER, constraint="compute_time", remedies=["shm_size"])
    assert "another constraint" in mismatch.boxes[1].missing


@pytest.mark.parametrize("request_", [{"constraint": "gpu"}, {"remedies": ["magic"]}])
def test_unknown_names_are_refused_with_the_known_ones(review, request_):
    with pytest.raises(ToolError, match="try one of"):
        review(*FASTER, **request_)


@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=9), st.floats(0.2, 5))
def test_scaling_every_run_scales_the_ratio_exactly(values, factor):
    ratio = paired_ratio(values, [value * factor for value in values])
    assert math.isclose(ratio.value, factor, rel_tol=1e-9)
    apart = ratio_of(values, [value * factor for value in values])
    assert apart.low <= factor * (1 + 1e-9) and apart.high >= factor * (1 - 1e-9)


def test_the_interval_is_students():
    # by hand: logs -0.1, 0.0, 0.1 have mean 0 and standard error 0.1 / sqrt(3); t(2, 97.5 %) = 4.303
    ratio = paired_ratio([1.0, 1.0, 1.0], [math.exp(-0.1), 1.0, math.exp(0.1)])
    assert ratio.high == pytest.approx(math.exp(4.303 * 0.1 / math.sqrt(3)), rel=1e-6)

"""Step times, causes and outcomes from what a probe wrote, without running anything."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimizing_resources.tools.measure_run.causes import find_causes, samples_per_step
from optimizing_resources.tools.measure_run.conditions import conditions_of
from optimizing_resources.tools.measure_run.launch import prepare
from optimizing_resources.tools.measure_run.series import percentile, series_of
from optimizing_resources.tools.measure_run.trace import Step, Trace, read_trace

MIB = 1024**2
QUIET = dict.fromkeys(Step._fields, 0) | {
    "gpu_allocated_bytes": None,
    "gpu_reserved_bytes": None,
    "loss": 1.0,
}
USAGE = {
    "most_processes": 1,
    "columns": ["at", "swapped_bytes", "ran_seconds", "waited_seconds"],
    "samples": [(0.0, 0, 0.0, 0.0), (4.0, 0, 4.0, 0.0)],
    "machine_before": {"swapped_in_bytes": 0},
    "machine_after": {"swapped_in_bytes": 0},
}


def steps(count=40, seconds=0.1, optimizer=0, start=0.0, **fields):
    """Steps at a steady pace; a field may be a function of the step's number."""
    made = []
    for number in range(count):
        values = {name: value(number) if callable(value) else value for name, value in fields.items()}
        usual = {"samples": 64, "backwards": 1, "thread_seconds": seconds, "anonymous_bytes": 500 * MIB}
        at = start + (number + 1) * seconds
        made.append(Step(**{**QUIET, **usual, "at": at, "cpu_seconds": at, "optimizer": optimizer, **values}))
    return made


def traced(made, **facts):
    optimizers = [{"number": 0, "tensors": 6, "parameters": 60, "device": "cpu"}]
    return Trace(steps=made, optimizers=optimizers, facts=facts)


def causes(made, usage=USAGE, cores=2.0, device="cpu"):
    trace = traced(made)
    trace.optimizers[0]["device"] = device
    return {cause.cause: cause for cause in find_causes(trace, series_of(trace), usage, cores)}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_lies_between_the_extremes_and_grows_with_its_share(values, share):
    assert min(values) <= percentile(values, share) <= max(values)
    assert percentile(values, share / 2) <= percentile(values, share)


def test_optimizers_that_work_together_count_once_and_those_in_sequence_add_up():
    together = sorted(steps(12, optimizer=0) + steps(12, optimizer=1, start=0.03), key=lambda step: step.at)
    assert series_of(traced(together)).steps == 12
    assert series_of(traced(steps(12) + steps(6, optimizer=1, start=1.2))).steps == 18


def test_backward_passes_count_only_where_nothing_ever_stepped():
    by_hand = steps(9, optimizer=-1)
    assert series_of(traced(by_hand)).steps == 9
    first = series_of(traced(by_hand[:3] + steps(5, start=0.9)))
    assert first.steps == 5 and first.losses[0] == 4.0  # the first step holds the three passes before it


def test_steps_with_an_evaluation_are_left_out_of_step_times():
    made = steps(40, evaluations=lambda number: int(number == 30))
    assert series_of(traced(made)).evaluated == 1
    always = steps(40, evaluations=1)
    assert len(series_of(traced(always)).laps) == 34


def test_a_healthy_run_has_no_cause():
    assert causes(steps()) == {}


def test_a_few_steps_are_too_few_to_claim_anything():
    assert causes(steps(6, data_seconds=0.09, user_syncs=3)) == {}


PLANTED = {
    "data_loader_bound": {"data_seconds": 0.05},
    "synchronization": {"user_syncs": 2, "sync_seconds": 0.02},
    "leak": {"anonymous_bytes": lambda number: (500 + number) * MIB},
    "tiny_batches": {"samples": 1, "thread_seconds": 0.0008},
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_cause_is_the_only_one_named(name):
    assert list(causes(steps(**PLANTED[name]))) == [name]


def test_reading_the_loss_every_step_is_named_with_what_it_costs_there():
    logging = steps(user_syncs=1, sync_seconds=0.00001)
    cheap = causes(logging)["synchronization"]
    assert cheap.share < 0.001 and "on this CPU; on a GPU each one waits" in cheap.evidence
    assert "CPU" not in causes(logging, device="cuda")["synchronization"].evidence
    now_and_then = steps(user_syncs=lambda number: int(number % 10 == 0))
    assert causes(now_and_then, device="cuda") == {}


def test_growth_is_told_in_bytes_per_step():
    leak = causes(steps(100, anonymous_bytes=lambda number: 500 * MIB + number * 300_000))["leak"]
    assert leak.growth_bytes_per_step == pytest.approx(300_000, rel=0.02)


@pytest.mark.parametrize(
    "memory",
    [
        lambda number: (500 + min(number, 12) * 5) * MIB,  # a cache that is full after twelve steps
        lambda number: (500 + 15 * (number % 3)) * MIB,  # an allocator that gives back and takes again
        lambda number: (500 if number % 5 == 0 else 530 + number) * MIB,  # swings wider from one floor
        lambda number: (500 + (40 if number > 25 else 0)) * MIB,  # one jump
    ],
)
def test_memory_that_rises_otherwise_is_no_leak(memory):
    assert causes(steps(anonymous_bytes=memory)) == {}


def test_input_that_comes_by_no_data_loader_is_seen_before_the_forward_pass():
    found = causes(steps(gap_seconds=0.06, gap_cpu_seconds=0.001))
    assert "outside a DataLoader" in found["data_loader_bound"].evidence
    assert "waiting without computing" in found["data_loader_bound"].evidence
    by_hand = steps(optimizer=-1, gap_seconds=0.06, gap_cpu_seconds=0.05)
    assert causes(by_hand) == {}  # no optimizer was seen, so the gap holds the update of the parameters


def test_only_threads_of_the_run_itself_oversubscribe_the_processor():
    own = {**USAGE, "samples": [(0.8, 0, 0.0, 0.0), (3.8, 0, 6.0, 18.0)]}  # eight ready threads on two cores
    foreign = {
        **USAGE,
        "samples": [(0.8, 0, 0.0, 0.0), (3.8, 0, 3.0, 3.0)],
    }  # two ready threads, half the time
    assert list(causes(steps(), own)) == ["cpu_oversubscription"]
    assert causes(steps(), foreign) == {}


def test_swap_needs_memory_that_is_swapped_out_and_read_back():
    used = {**USAGE, "samples": [(0.0, 90 * MIB, 0.0, 0.0), (4.0, 90 * MIB, 4.0, 0.0)]}
    assert list(causes(steps(major_faults=lambda number: number * 50), used)) == ["swap"]
    assert causes(steps(), used) == {}


def test_without_a_loader_the_models_first_input_tells_the_samples():
    trace = traced(steps(20, samples=0, backwards=4), model={"shape": [12, 64]})
    assert samples_per_step(trace, series_of(trace)) == 48


def micro_batched(groups):
    """A trace as the probe writes it: a line for each backward pass, the batches with the first, then the step."""
    made = []
    for group in groups:
        made += steps(1, optimizer=-1, samples=sum(group), start=len(made))
        made += steps(len(group) - 1, optimizer=-1, samples=0, start=len(made))
        made += steps(1, samples=0, backwards=0, start=len(made))
    return traced(made, model={"shape": [groups[0][0], 64]})


@pytest.mark.parametrize(
    ("groups", "backwards"),
    [
        ([[32] * 4], 4),
        ([[32] * 4, [32, 16]], 4),
        ([[32] * 4] * 5 + [[8]], 4),
        ([[128]], 1),
        ([[128], [64]], 1),
    ],
)
def test_samples_of_all_micro_batches_count_and_a_short_last_batch_decides_nothing(
    groups, backwards, tmp_path
):
    trace = micro_batched(groups)
    assert samples_per_step(trace, series_of(trace)) == 128
    launch = prepare(["python", "-V"], python=Path(sys.executable), cwd=tmp_path, max_steps=None)
    assert conditions_of(launch, trace, 128)["backwards_per_step"] == backwards


def test_a_line_that_was_cut_off_by_a_kill_ends_the_trace_quietly(tmp_path):
    whole = '["start", {"rank": "0"}]\n["step", ' + str([0.0] * len(Step._fields))[1:] + "\n"
    (tmp_path / "7.jsonl").write_text(whole + '["step", 0.3, ', encoding="utf-8")
    assert len(read_trace(tmp_path).steps) == 1


def test_secrets_of_the_command_and_names_of_machines_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "hunter2:1234")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    words = ["python", "-V", "--api-key", "hunter2", "--hub_token=hunter2", "--seed", "7"]
    words.append("--db=postgres://me:hunter2@db/runs")
    launch = prepare(words, python=Path(sys.executable), cwd=tmp_path, max_steps=None)
    kept = conditions_of(launch, Trace(), None)
    assert "hunter2" not in str(kept)
    assert kept["seed"] == "7" and "7" not in kept["workload"]["arguments"]
    assert kept["environment"]["TOKENIZERS_PARALLELISM"] == "false"


@pytest.mark.parametrize("word", ["--seed=3", "seed=3", "+training.seed=3", "--random-seed=3"])
def test_a_seed_is_told_apart_from_the_workload(tmp_path, word):
    launch = prepare(
        ["python", "-V", word, "lr=0.1"], python=Path(sys.executable), cwd=tmp_path, max_steps=None
    )
    kept = conditions_of(launch, Trace(), None)
    assert kept["seed"] == "3" and kept["workload"]["arguments"] == ["-V", "lr=0.1"]


def test_a_file_the_command_reads_is_part_of_the_workload_and_one_it_writes_is_not(tmp_path):
    def workload():
        words = ["python", "train.py", "--data=in.csv", "--seed=3", "--out", "out.json"]
        launch = prepare(words, python=Path(sys.executable), cwd=tmp_path, max_steps=None)
        (tmp_path / "out.json").write_text(
            str(len(list(tmp_path.iterdir()))), encoding="utf-8"
        )  # the run writes it
        return conditions_of(launch, Trace(), None)["workload"]

    (tmp_path / "train.py").write_text("1", encoding="utf-8")
    (tmp_path / "in.csv").write_text("1", encoding="utf-8")
    first = workload()
    assert list(first["files"]) == ["in.csv"]
    (tmp_path / "train.py").write_text("patched", encoding="utf-8")
    assert workload() == first
    (tmp_path / "in.csv").write_text("2", encoding="utf-8")
    assert workload() != first

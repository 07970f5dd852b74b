"""The gates of the GPU benchmark, on made-up rows: each must fail exactly where the demand is missed."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "memory_gates.py"
_spec = importlib.util.spec_from_file_location("memory_gates", PATH)
assert _spec and _spec.loader
gates = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(gates)


def row(fits: str, survived: bool = True, room: bool = True) -> dict[str, Any]:
    return {"fits": fits, "survived": survived, "room": survived and room}


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ([0.01] * 20, []),
        ([0.01] * 19 + [-0.5], []),  # one outlier in twenty lies beyond the 90th percentile
        ([-0.04] * 20, ["median"]),
        ([0.01] * 15 + [-0.09] * 5, ["P90"]),
    ],
)
def test_peaks_are_held_to_median_and_ninetieth_percentile(errors: list[float], words: list[str]) -> None:
    _, failed = gates.peak_gates(errors)
    assert [reason.split()[0] for reason in failed] == words


def test_verdicts_are_held_to_no_false_fit_and_few_false_alarms() -> None:
    good = [row("fits")] * 17 + [row("tight")] * 2 + [row("no", room=False)] + [row("no", survived=False)] * 9
    assert gates.verdict_gates(good)[1] == []
    assert "1 fits that ran out" in gates.verdict_gates([*good, row("fits", survived=False)])[1][0]
    assert gates.verdict_gates([*good, row("tight", survived=False)])[1] == []
    assert "no for" in gates.verdict_gates([*good, row("no"), row("no")])[1][0]
    assert "tight for" in gates.verdict_gates([*good, row("tight"), row("tight")])[1][0]


def test_batches_are_held_to_the_true_edge() -> None:
    def failed(fits: int, not_no: int) -> list[str]:
        found: list[str] = gates.batch_gates(
            [{"model": "m", "fits": fits, "not_no": not_no, "truth": 100, "step": 1}]
        )[1]
        return found

    assert failed(90, 104) == failed(100, 95) == []
    assert "above the true" in failed(101, 101)[0]
    assert "far below" in failed(80, 100)[0]
    assert "not_no" in failed(90, 110)[0]

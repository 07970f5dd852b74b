"""The array engine: the same bytes however the work is done, and the properties each transform promises."""

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizing_resources.tools._series.arrays import blocks, plain, streams
from optimizing_resources.tools._series.methods import METHODS
from optimizing_resources.tools.augment_series import transforms

NAMES = sorted(METHODS)
FUSED = (
    "dtw_barycenter", "jitter", "scaling", "magnitude_warp", "window_slice", "time_warp", "window_warp", "upsampling",
)  # fmt: skip


def walk(series: int = 12, steps: int = 60, channels: int = 2, seed: int = 0) -> Any:
    draws = np.random.default_rng(seed).normal(size=(series, steps, channels))
    season = 5 * np.sin(2 * np.pi * np.arange(steps) / 12)[None, :, None]
    return 100.0 + draws.cumsum(axis=1) + season


def call(name: str, x: Any, **more: Any) -> Any:
    function = METHODS[name].function
    if "season" in inspect.signature(function).parameters:
        more["season"] = 12
    return function(x, seed=7, **more)


def test_every_method_is_public() -> None:
    assert set(transforms.__all__) == set(NAMES)
    assert all(getattr(transforms, name) is METHODS[name].function for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_threads_and_blocks_change_no_byte(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = walk()
    one = call(name, x, threads=1)
    monkeypatch.setattr(blocks, "_BLOCK_VALUES", 150)
    assert call(name, x, threads=4).tobytes() == one.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_copy_of_a_series_follows_its_id_not_its_row(name: str) -> None:
    x, ids = walk(), [f"s{i}" for i in range(12)]
    order = np.random.default_rng(1).permutation(12)
    shuffled = call(name, x[order], ids=[ids[i] for i in order])
    np.testing.assert_array_equal(shuffled, call(name, x, ids=ids)[order])


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_numba_and_numpy_give_the_same_bytes(name: str, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    x = walk(channels=3).astype(kind)
    if METHODS[name].kind != "whole":
        x[2, 10, 1] = np.nan
    fused = call(name, x)
    monkeypatch.setattr(blocks, "loops", lambda: plain)
    assert call(name, x).tobytes() == fused.tobytes()


@pytest.mark.parametrize("name", [n for n in NAMES if n != "identity"])
def test_copies_differ_from_each_other_and_from_the_original(name: str) -> None:
    x = walk()
    first, second = call(name, x, copy=1), call(name, x, copy=2)
    assert first.shape == x.shape and np.isfinite(first).all()
    assert not np.array_equal(first, second) and not np.array_equal(first, x)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 70))
def test_normal_draws_do_not_depend_on_how_many_are_drawn_at_once(seed: int, count: int) -> None:
    keys = streams.keys_of(seed, "any", 0, 3)
    whole = streams.normals(keys, count)
    np.testing.assert_array_equal(
        whole[:, count // 2 :], streams.normals(keys, count - count // 2, count // 2)
    )


def test_normal_draws_are_normal() -> None:
    stats = pytest.importorskip("scipy.stats")
    draws = streams.normals(streams.keys_of(3, "any", 0, 500), 2000).ravel()
    assert stats.kstest(draws, "norm").pvalue > 0.001
    assert abs(stats.kurtosis(draws)) < 0.02 and abs((np.abs(draws) > 3.654).mean() / 2.58e-4 - 1) < 0.15


def test_a_hole_stays_and_spreads_one_step_at_most() -> None:
    x = walk(channels=1)
    x[0, 30] = np.nan
    with pytest.raises(ValueError, match="without holes"):
        call("dtw_barycenter", x)
    for name in (n for n in FUSED if METHODS[n].kind != "whole"):
        assert np.isnan(call(name, x)[0]).sum() <= 4 and not np.isnan(call(name, x)[1:]).any()


def test_surrogates_have_the_very_values_of_the_original() -> None:
    x = walk()
    np.testing.assert_array_equal(np.sort(call("iaaft", x), axis=1), np.sort(x, axis=1))


def test_a_bootstrap_keeps_mean_and_spread() -> None:
    x = walk(series=40, steps=120, channels=1)
    made = call("moving_block_bootstrap", x)
    assert np.abs(made.mean(axis=1) / x.mean(axis=1) - 1).max() < 0.05
    assert np.median(np.abs(made.std(axis=1) / x.std(axis=1) - 1)) < 0.15


def test_a_time_warp_moves_forward_only_and_keeps_both_ends() -> None:
    ramp = np.broadcast_to(np.arange(50.0)[None, :, None], (200, 50, 1))
    made = transforms.time_warp(ramp, seed=1)
    assert (np.diff(made, axis=1) > 0).all()
    np.testing.assert_allclose(made[:, [0, -1], 0], [[0.0, 49.0]] * 200, atol=1e-9)


def test_the_warp_of_a_barycentre_is_the_one_that_brute_force_finds() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20)).cumsum(axis=1)
    cost = np.full((21, 21), np.inf)
    cost[0, 0] = 0.0
    for i in range(20):
        for j in range(20):
            cost[i + 1, j + 1] = (x[i] - y[j]) ** 2 + min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
    found: list[list[float]] = [[] for _ in x]
    i = j = 20
    while i and j:
        found[i - 1].append(y[j - 1])
        i, j = min((i - 1, j - 1), (i - 1, j), (i, j - 1), key=lambda at: cost[at])
    warped = np.empty((20, 1))
    plain.align(x[:, None], y[:, None], 19, warped)
    np.testing.assert_allclose(warped[:, 0], [np.mean(ys) for ys in found])


def test_integers_are_not_truncated_and_objects_are_refused() -> None:
    counts = np.arange(40).reshape(1, 40, 1)
    assert not np.array_equal(transforms.jitter(counts, seed=0), counts)
    with pytest.raises(ValueError, match="Numbers are wanted"):
        transforms.jitter(np.array([["a", "b"]], dtype=object), seed=0)


def test_results_go_into_the_array_that_is_given() -> None:
    x = walk()
    out = np.empty_like(x)
    assert transforms.jitter(x, seed=1, out=out) is out
    np.testing.assert_array_equal(out, transforms.jitter(x, seed=1))

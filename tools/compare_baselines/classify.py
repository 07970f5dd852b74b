"""Classifiers compared on labelled series: stratified folds, copies of training series only, paired verdicts."""

import importlib.util
import time
from typing import Any

import numpy as np
from scipy import stats

from .._core.errors import ToolError
from .._series.block import bridge
from .._series.case_copies import copies_of_cases
from .._series.intake.cases import Cases
from .._series.methods import Wish
from .backtest import COPIES
from .models.classifiers import CLASSIFIERS
from .verdict import ERROR_RATE

_DRAWS = 3  # seeds a cell: networks and copies differ from draw to draw


def classify(cases: Cases, request: dict[str, Any], wishes: list[Wish], progress: Any) -> dict[str, Any]:
    """Table, verdicts and recommendation; cells whose time is not there are listed."""
    started = time.perf_counter()
    labels = _labels(cases)
    folds, notes = _folds(labels, request["folds"], request["seed"])
    names, not_run = _menu(request["models"])
    hits: dict[tuple[str, str], Any] = {}
    table: list[dict[str, Any]] = []
    cells: list[tuple[str, Wish | None]] = [(n, None) for n in names]
    cells += [(n, w) for n in names for w in wishes]
    progress(0, len(cells), f"{len(labels)} series, {len(folds)} folds: timing {len(names)} classifiers")
    expected = _expected(cells, cases, labels, folds)
    progress(0, len(cells), f"expect {expected:.0f} s")
    run_started = time.perf_counter()
    for number, (name, wished) in enumerate(cells):
        label = f"{name}+{wished.name}" if wished else name
        progress(number, len(cells), label)
        if table and time.perf_counter() - started > request["max_seconds"]:
            not_run.append(
                {
                    "model": name,
                    "augmentation": wished.name if wished else "none",
                    "why": "max_seconds had passed",
                }
            )
            continue
        began = time.perf_counter()
        found = _predict(name, wished, cases, labels, folds, request["seed"])
        key = (name, wished.name if wished else "none")
        hits[key] = found == labels[None, :]
        table.append(_row(key, found, labels, folds, time.perf_counter() - began))
    verdicts = _verdicts(hits, folds)
    helped = {(v["model"], v["augmentation"]) for v in verdicts if v["verdict"] == "helps"}
    best = max(
        (r for r in table if r["augmentation"] == "none" or (r["model"], r["augmentation"]) in helped),
        key=lambda r: r["accuracy"],
    )
    return {
        "series": len(labels),
        "season": 1,
        "folds": len(folds),
        "table": sorted(table, key=lambda r: -r["accuracy"]),
        "verdict": verdicts,
        "recommended": {k: best[k] for k in ("model", "augmentation", "accuracy", "macro_f1")},
        "forecast": None,
        "picture": None,
        "not_run": not_run,
        "failures": [],
        "estimated_seconds": round(expected, 1),
        "run_seconds": round(time.perf_counter() - run_started, 1),
        "warnings": notes,
    }


def _expected(cells: list[tuple[str, Wish | None]], cases: Cases, labels: Any, folds: list[Any]) -> float:
    """Seconds of all cells, from one fit of each classifier after one on a few series to warm up."""
    values = [bridge(v[None])[0] for v in cases.values]
    train = np.setdiff1d(np.arange(len(labels)), folds[0])
    few = np.concatenate([np.nonzero(labels == kind)[0][:2] for kind in np.unique(labels)])
    seconds: dict[str, float] = {}
    for name in dict.fromkeys(n for n, _ in cells):
        for rows in (few, train):
            began = time.perf_counter()
            CLASSIFIERS[name][0]([values[i] for i in rows], labels[rows], [values[i] for i in folds[0]], 0)
            seconds[name] = time.perf_counter() - began
    return sum(
        seconds[name] * len(folds) * _draws(name, wished) * (1 + COPIES if wished and name != "fcn" else 1)
        for name, wished in cells  # the network is trained for a set number of batches, however many the copies
    )


def _draws(name: str, wished: Wish | None) -> int:
    return _DRAWS if wished or name == "fcn" else 1


def _labels(cases: Cases) -> Any:
    if cases.labels is None:
        raise ToolError(
            "The series have no labels", saw="no label column or array y", try_next="label_column"
        )
    labels = np.array(cases.labels)
    if len(np.unique(labels)) < 2:
        raise ToolError("There is only one class", saw=labels[0], try_next="series of at least two classes")
    return labels


def _folds(labels: Any, wanted: int, seed: int) -> tuple[list[Any], list[str]]:
    """Test rows of each fold, every class spread over them; a class with one member is only learned from."""
    kinds, sizes = np.unique(labels, return_counts=True)
    single = kinds[sizes == 1]
    notes = (
        [f"{len(single)} classes have one member and are never tested: {', '.join(single[:5])}"]
        if len(single)
        else []
    )
    if max(sizes) > 20 * min(sizes):
        notes.append(f"Classes are unbalanced ({max(sizes)} to {min(sizes)}): read macro_f1 before accuracy")
    count = max(2, min(wanted, int(sizes[sizes > 1].min()))) if (sizes > 1).any() else 0
    if not count:
        raise ToolError(
            "Every class has one member only", saw=f"{len(kinds)} classes", try_next="more series a class"
        )
    order, fold_of = np.random.default_rng(seed), np.full(len(labels), -1)
    for kind in kinds[sizes > 1]:
        members = order.permutation(np.nonzero(labels == kind)[0])
        fold_of[members] = np.arange(len(members)) % count
    return [np.nonzero(fold_of == k)[0] for k in range(count)], notes


def _menu(asked: list[Any]) -> tuple[list[str], list[dict[str, str]]]:
    names, not_run = [], []
    for name in asked or list(CLASSIFIERS):
        if name not in CLASSIFIERS:
            raise ToolError("No such classifier", saw=name, try_next=f"one of {', '.join(CLASSIFIERS)}")
        _, needs, extra = CLASSIFIERS[name]
        absent = [m for m in needs if importlib.util.find_spec(m) is None]
        if absent:
            why = f"{absent[0]} is not installed: pip install 'optimizing-resources[{extra}]'"
            not_run.append({"model": name, "augmentation": "none", "why": why})
        else:
            names.append(name)
    if not names:
        raise ToolError("No classifier can run here", saw=not_run[0]["why"], try_next="installing one")
    return names, not_run


def _predict(name: str, wished: Wish | None, cases: Cases, labels: Any, folds: list[Any], seed: int) -> Any:
    """Predicted labels, (draw, series); training series and their copies never include a test series."""
    function = CLASSIFIERS[name][0]
    values = [bridge(v[None])[0] for v in cases.values]
    found = np.full((_DRAWS, len(labels)), "", dtype=object)
    draws = _draws(name, wished)
    for rows in folds:
        train = np.setdiff1d(np.arange(len(labels)), rows)
        for draw in range(draws):
            known, learned = [values[i] for i in train], labels[train]
            if wished:
                part = Cases([cases.ids[i] for i in train], known, None, np.ones(len(train), bool), "x")
                made, _ = copies_of_cases(part, [wished], COPIES, seed + draw)
                known = known + [v for *_, v in made]
                learned = np.concatenate([learned, learned[[c[0] for c in made]]]) if made else learned
            found[draw, rows] = function(known, learned, [values[i] for i in rows], seed + draw)
    found[draws:] = found[0]
    return found


def _row(key: tuple[str, str], found: Any, labels: Any, folds: list[Any], seconds: float) -> dict[str, Any]:
    tested = np.concatenate(folds)
    scores = [_macro_f1(found[d, tested], labels[tested]) for d in range(len(found))]
    return {
        "model": key[0],
        "augmentation": key[1],
        "accuracy": round(float((found[:, tested] == labels[None, tested]).mean()), 4),
        "macro_f1": round(float(np.mean(scores)), 4),
        "seconds": round(seconds, 3),
        "basis": "measured",
    }


def _macro_f1(found: Any, true: Any) -> float:
    scores = []
    for kind in np.unique(true):
        hit = ((found == kind) & (true == kind)).sum()
        scores.append(2.0 * hit / max(((found == kind).sum() + (true == kind).sum()), 1))
    return float(np.mean(scores))


def _verdicts(hits: dict[tuple[str, str], Any], folds: list[Any]) -> list[dict[str, Any]]:
    tested = np.concatenate(folds)
    augmented = [k for k in hits if k[1] != "none"]
    rows = []
    for model, augmentation in augmented:
        change = 100.0 * (hits[model, augmentation].mean(axis=0) - hits[model, "none"].mean(axis=0))[tested]
        draws = 100.0 * (
            hits[model, augmentation][:, tested].mean(axis=1) - hits[model, "none"][:, tested].mean(axis=1)
        )
        variance = change.var(ddof=1) / len(change) + draws.var(ddof=1) / len(draws)
        reach = stats.t.ppf(1 - ERROR_RATE / (2 * len(augmented)), len(change) - 1) * np.sqrt(variance)
        low, high = change.mean() - reach, change.mean() + reach
        rows.append(
            {
                "model": model,
                "augmentation": augmentation,
                "difference": round(float(change.mean()), 3),
                "interval": [round(float(low), 3), round(float(high), 3)],
                "verdict": "helps" if low > 0 else "hurts" if high < 0 else "cannot tell",
                "series": len(change),
                "unit": "percentage points of accuracy; positive is better",
                "basis": "measured",
            }
        )
    return rows

"""Classifiers compared on labelled series: stratified folds, copies of training series only, paired verdicts."""

import importlib.util
import time
from typing import Any

import numpy as np
from scipy import stats

from .._core.errors import ToolError
from .._series.block import bridge
from .._series.intake.cases import Cases
from .._series.methods import Wish
from .classify_cells import ClassCell, Labelled, time_first, warm_up
from .models.classifiers import CLASSIFIERS
from .verdict import ERROR_RATE


def classify(cases: Cases, request: dict[str, Any], wishes: list[Wish], progress: Any) -> dict[str, Any]:
    """Table, verdicts and recommendation; cells whose time is not there are listed."""
    until = time.perf_counter() + request["max_seconds"]
    labels = _labels(cases)
    folds, notes = _folds(labels, request["folds"], request["seed"])
    names, not_run = _menu(request["models"])
    data = Labelled(cases.ids, [bridge(v[None])[0] for v in cases.values], labels, folds, request["seed"])
    cells = [ClassCell(n, None) for n in names] + [ClassCell(n, w) for n in names for w in wishes]
    progress(0, len(cells), f"{len(labels)} series, {len(folds)} folds: timing {len(cells)} cells")
    warm_up(cells, data)
    started = time.perf_counter()
    expected = time_first(cells, data, until)
    progress(0, len(cells), f"expect {expected:.0f} s")
    done, late = _run(cells, data, until, progress)
    return {
        **_results(done, data),
        "not_run": [*not_run, *late],
        "estimated_seconds": round(expected, 1),
        "run_seconds": round(time.perf_counter() - started, 1),
        "warnings": [*cases.warnings, *notes],
    }


def _run(
    cells: list[ClassCell], data: Labelled, until: float, progress: Any
) -> tuple[list[ClassCell], list[dict[str, str]]]:
    """The finished cells, at least one, and what the time did not reach."""
    done: list[ClassCell] = []
    late = []
    for number, cell in enumerate(cells):
        if done and time.perf_counter() > until:
            model, augmentation = cell.key
            late.append({"model": model, "augmentation": augmentation, "why": "max_seconds had passed"})
            continue
        progress(number, len(cells), "+".join(cell.key) if cell.wished else cell.name)
        cell.finish(data)
        done.append(cell)
    return done, late


def _results(done: list[ClassCell], data: Labelled) -> dict[str, Any]:
    table = [_row(cell, data) for cell in done]
    verdicts = _verdicts({c.key: c.found == data.labels[None, :] for c in done}, data.folds)
    helped = {(v["model"], v["augmentation"]) for v in verdicts if v["verdict"] == "helps"}
    counted = [r for r in table if r["augmentation"] == "none" or (r["model"], r["augmentation"]) in helped]
    best = max(counted, key=lambda r: float(r["accuracy"]))
    return {
        "series": len(data.labels),
        "season": 1,
        "folds": len(data.folds),
        "table": sorted(table, key=lambda r: -float(r["accuracy"])),
        "verdict": verdicts,
        "recommended": {k: best[k] for k in ("model", "augmentation", "accuracy", "macro_f1")},
        "forecast": None,
        "picture": None,
        "failures": [],
    }


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


def _row(cell: ClassCell, data: Labelled) -> dict[str, Any]:
    tested, labels = data.tested, data.labels
    scores = [_macro_f1(found[tested], labels[tested]) for found in cell.found]
    return {
        "model": cell.key[0],
        "augmentation": cell.key[1],
        "accuracy": round(float((cell.found[:, tested] == labels[None, tested]).mean()), 4),
        "macro_f1": round(float(np.mean(scores)), 4),
        "seconds": round(cell.seconds, 3),
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

"""How well triage names constraint, cause and numbers on labelled real texts: benchmarks/triage_score.py [FOLDER].

FOLDER holds open.jsonl (rows with text and labels) and score.py (which prints the figures); it is not part of the
project. The shares in causes.py are the only thresholds that could be fitted to texts. For each of five folds they are
chosen anew on the other four: if the left-out folds stayed far below the shipped shares, these would be memorised.
"""

import importlib.util
import itertools
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from optimizing_resources.tools.triage_constraint import TriageConstraintRequest, causes, triage_constraint

_SHARES = ("_FRAGMENTED_SHARE", "_HUGE_SHARE", "_FOREIGN_SHARE")
_CHOICES = ((0.15, 0.25, 0.35), (0.2, 0.3, 0.4), (0.25, 0.35, 0.45))
_FOLDS = 5


def predict(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What triage says about each text."""
    predictions = []
    for row in rows:
        report = triage_constraint(TriageConstraintRequest(text=row["text"]))
        kept = report.model_dump(include={"constraint", "sub_cause", "secondary", "numbers"})
        predictions.append({"id": row["id"], **kept})
    return predictions


def gpu_causes_right(rows: list[dict[str, Any]], shares: tuple[float, ...]) -> int:
    """How many GPU memory texts get their labelled cause, or none where none is labelled, under these shares."""
    kept = [getattr(causes, name) for name in _SHARES]
    for name, share in zip(_SHARES, shares, strict=True):
        setattr(causes, name, share)
    right = sum(p["sub_cause"] == r["sub_cause"] for p, r in zip(predict(rows), rows, strict=True))
    for name, share in zip(_SHARES, kept, strict=True):
        setattr(causes, name, share)
    return right


def cross_validate(rows: list[dict[str, Any]]) -> None:
    """Shares chosen on four folds, judged on the fifth, beside the shipped ones."""
    rows = [row for row in rows if row["constraint"] == "gpu_memory"]
    shipped = tuple(getattr(causes, name) for name in _SHARES)
    chosen_right = 0
    for fold in range(_FOLDS):
        inside = [row for n, row in enumerate(rows) if n % _FOLDS != fold]
        outside = [row for n, row in enumerate(rows) if n % _FOLDS == fold]
        best = max(itertools.product(*_CHOICES), key=lambda shares: gpu_causes_right(inside, shares))
        chosen_right += gpu_causes_right(outside, best)
    print(
        f"\nGPU causes right (null included), {len(rows)} texts: shipped shares {gpu_causes_right(rows, shipped)},"
    )
    print(f"shares chosen without the judged fold {chosen_right}")


def main() -> None:
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "triage"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    if not (folder / "open.jsonl").exists():
        raise SystemExit(f"No labelled texts in {folder}: name a folder with open.jsonl and score.py")
    rows = [json.loads(line) for line in (folder / "open.jsonl").read_text(encoding="utf-8").splitlines()]
    spec = importlib.util.spec_from_file_location("score", folder / "score.py")
    assert spec and spec.loader
    score = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(score)
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(prediction) + "\n" for prediction in predict(rows))
        file.flush()
        score.main(folder / "open.jsonl", file.name)
    cross_validate(rows)


if __name__ == "__main__":
    main()

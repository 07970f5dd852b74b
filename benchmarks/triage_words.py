"""How well words alone name the constraint of short requests: `python benchmarks/triage_words.py [FILE ...] [--write]`.

triage_requests.tsv has a request a line: constraint, tab, text. Prints the share of right readings in five-fold
cross-validation of the words alone, and for each FILE of that form (default triage_unseen.tsv, whose 820 requests were
written by others than the rules and the requests learned from) how triage_constraint itself does, with false triggers
(a resource named where none is short). --write learns from all requests and replaces
tools/triage_constraint/weights.txt. Two kinds of "nothing is short" count as one.
"""

import argparse
from pathlib import Path

import numpy as np
from optimizing_resources.tools.triage_constraint import TriageConstraintRequest, triage_constraint
from optimizing_resources.tools.triage_constraint.concepts import simplified
from optimizing_resources.tools.triage_constraint.verdict import NEGATIVE
from optimizing_resources.tools.triage_constraint.words import LEVELS, ZERO, features
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

UNSEEN = Path(__file__).with_name("triage_unseen.tsv")
REQUESTS = Path(__file__).with_name("triage_requests.tsv")
TARGET = Path(__file__).resolve().parents[1] / "tools" / "triage_constraint" / "weights.txt"
STRENGTH = 30.0  # inverse of the penalty on weights
LEAST_ROWS = 3  # requests that must have a feature


def read(path: Path) -> tuple[list[str], list[str]]:
    """Constraints and texts."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return [r[0] for r in rows], [r[1] for r in rows]


def known(text: str) -> list[str]:
    """The features of a request."""
    return list(features(simplified(text.lower())))


def share_right(found: list[str], wanted: list[str]) -> str:
    """Right readings, and resources named where none is short."""
    right = sum(f == w or {f, w} <= set(NEGATIVE) for f, w in zip(found, wanted, strict=True))
    none_short = [f for f, w in zip(found, wanted, strict=True) if w in NEGATIVE]
    false = sum(f not in NEGATIVE for f in none_short)
    share = right / len(wanted)
    return f"{right} of {len(wanted)} right ({share:.1%}), {false} of {len(none_short)} false triggers"


def write(table: TfidfVectorizer, model: LogisticRegression) -> None:
    """The weights as whole numbers of one unit, a character each."""
    unit = np.abs(model.coef_).max() / LEVELS
    whole = np.rint(model.coef_ / unit).astype(int)
    rows = [
        f"{feature}\t{table.idf_[k]:.2f}\t" + "".join(chr(ZERO + level) for level in whole[:, k])
        for feature, k in sorted(table.vocabulary_.items())
        if whole[:, k].any()
    ]
    head = [
        "// learned by benchmarks/triage_words.py; feature, rarity, one weight a constraint",
        "\t".join(["constraints", *model.classes_]),
        "\t".join(["without words", *(f"{value:.2f}" for value in model.intercept_)]),
        f"unit\t{unit:.5f}",
    ]
    TARGET.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")
    print(f"{len(rows)} features, {TARGET.stat().st_size / 1000:.0f} KB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, default=[UNSEEN])
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    wanted, texts = read(REQUESTS)
    table = TfidfVectorizer(analyzer=known, min_df=LEAST_ROWS, binary=True)
    model = LogisticRegression(C=STRENGTH, max_iter=3000)
    if arguments.write:
        write(table, model.fit(table.fit_transform(texts), wanted))
    else:
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        found = cross_val_predict(make_pipeline(table, model), texts, wanted, cv=folds)
        print(f"words alone, cross-validated: {share_right(list(found), wanted)}")
    for path in arguments.files:
        wanted, texts = read(path)
        reports = [triage_constraint(TriageConstraintRequest(text=text)) for text in texts]
        print(f"triage, {path.name}: {share_right([r.constraint for r in reports], wanted)}")


if __name__ == "__main__":
    main()

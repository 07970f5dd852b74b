"""How many of the hand-labelled scripts of patch_labels.csv are handled rightly, by class.

    python benchmarks/patch_coverage.py FOLDER     # FOLDER/owner+name/path holds the files, from public repositories

A label says what a reviewer would want: patched, already, framework_option, declined (the line stands in the way, or
the switch is on the command line), nothing_to_do, or refused (Python 2). Right is the wanted outcome, settled, without
a fault that patch_checker.py finds (that other code than precision changed is none where a framework's own option was
set). Labels marked blind were set by reading the scripts alone, before the tool ever ran on their repositories, and are
counted again on their own; the others after seeing its patches. No repository is in patch_scripts.csv too. Files that
FOLDER lacks are left out, and counted.
"""

import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

from patch_score import score

HERE = Path(__file__).parent


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    table: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    missed: list[dict[str, object]] = []
    absent = 0
    for row in csv.DictReader((HERE / "patch_labels.csv").open(encoding="utf-8")):
        path = folder / row["repo"].replace("/", "+") / row["path"]
        if not path.is_file():
            absent += 1
            continue
        found = score(path, "auto")
        option = found["outcome"] == "framework_option"
        outcome = "refused" if found["outcome"] == "not Python 3" else str(found["outcome"])
        faults = [f for f in found.get("faults", []) if not (option and f.endswith("other_code_changed"))]
        wrong = bool(faults) or found.get("settled") is False
        right = outcome in row["right"].split("|") and not wrong
        groups = [row["class"], "all"]
        if row["blind"] == "yes":
            groups += [f"blind {row['class']}", "blind"]
        for name in groups:
            table[name]["files"] += 1
            table[name]["right"] += right
            table[name]["patched"] += outcome in ("patched", "framework_option", "already") and not wrong
            table[name]["judged wrong"] += wrong
        if not right:
            missed.append({"file": f"{row['repo']}/{row['path']}", "wanted": row["right"], **found})
    for name, counts in table.items():
        share = counts["right"] / counts["files"]
        print(f"{name:16} {counts['files']:4} files  {share:6.1%} rightly handled  {dict(counts)}")
    print(f"{absent} labelled files are not in {folder.name}")
    result = {"table": table, "absent": absent, "missed": missed}
    target = HERE / "results" / "patch_coverage.json"
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Score apply_amp_patch on the real scripts of patch_scripts.csv, judged by patch_checker.py.

    python benchmarks/patch_score.py FOLDER [yes|no]     # FOLDER/owner+name/path holds the files; held back or not

Each file is patched with every precision. Counted are outcomes, faults the judge finds, second
applications that change something, and declined sites without line or code. Results go to benchmarks/results.
"""

import csv
import json
import sys
import time
from collections import Counter
from pathlib import Path

from optimizing_resources.tools._core.errors import ToolError
from optimizing_resources.tools.apply_amp_patch.codemod import patch
from optimizing_resources.tools.apply_amp_patch.context import Wishes
from optimizing_resources.tools.apply_amp_patch.source import read_source
from patch_checker import faults

HERE = Path(__file__).parent


def score(path: Path, precision: str) -> dict[str, object]:
    """What one script with one precision gives."""
    try:
        source = read_source(path.read_bytes(), path.name)
    except ToolError:
        return {"outcome": "not Python 3", "line": 1}
    started = time.process_time()
    try:
        result = patch(source.text, ["mixed_precision"], Wishes(precision), path)
    except SyntaxError as error:
        return {"outcome": "not Python 3", "line": error.lineno}
    seconds = time.process_time() - started
    changed = result.text != source.text
    again = patch(result.text, ["mixed_precision"], Wishes(precision), path) if changed else result
    refusals = [s for s in result.sites if s.action == "decline"]
    return {
        "outcome": result.outcome,
        "codes": [s.reason_code for s in refusals],
        "bf16_only": any("bf16 only" in w for w in result.warnings),
        "faults": [f"{f.line}: {f.code}" for f in faults(result.text, source.text)] if changed else [],
        "settled": again.text == result.text,
        "refusals_complete": all(s.line > 0 and s.reason_code for s in refusals),
        "seconds": round(seconds, 3),
    }


def main() -> None:
    folder, wanted = Path(sys.argv[1]), sys.argv[2:] or ["yes", "no"]
    rows = [
        r
        for r in csv.DictReader((HERE / "patch_scripts.csv").open(encoding="utf-8"))
        if r["held_back"] in wanted
    ]
    found: dict[str, dict[str, object]] = {}
    for row in rows:
        path = folder / row["repo"].replace("/", "+") / row["path"]
        if not path.is_file() or not path.stat().st_size:
            continue
        for precision in ("auto", "bf16", "fp16"):
            found[f"{row['repo']}/{row['path']} {precision}"] = score(path, precision)
    summary = {
        "scripts": len(found) // 3,
        "repositories": len({key.rsplit("/", key.count("/") - 1)[0] for key in found}),
        "outcomes_auto": Counter(str(v["outcome"]) for k, v in found.items() if k.endswith("auto")),
        "bf16_only_auto": sum(bool(v.get("bf16_only")) for k, v in found.items() if k.endswith("auto")),
        "faulty": [k for k, v in found.items() if v.get("faults")],
        "unsettled": [k for k, v in found.items() if v.get("settled") is False],
        "refusals_without_line_or_code": [k for k, v in found.items() if v.get("refusals_complete") is False],
        "slowest_seconds": max(float(str(v.get("seconds", 0))) for v in found.values()),
    }
    print(json.dumps(summary, indent=1))
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    name = f"patch_score_held_{'_'.join(wanted)}.json"
    (results / name).write_text(
        json.dumps({"summary": summary, "files": found}, indent=1) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()

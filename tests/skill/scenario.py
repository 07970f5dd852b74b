"""Gives an agent a scenario to work on, and judges what it left behind.

    python tests/skill/scenario.py list
    python tests/skill/scenario.py prepare NAME FOLDER     copies the files, prints the prompt
    python tests/skill/scenario.py check NAME FOLDER       one line for each outcome; exit code 1 when one is missing

Standard library only, and nothing of the package: the same agent can be judged with the skill and without it.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

SCENARIOS = Path(__file__).with_name("scenarios")
ANSWER = "answer.json"
_RUN_SECONDS = 300


def names() -> list[str]:
    """Every scenario."""
    return sorted(folder.name for folder in SCENARIOS.iterdir() if (folder / "scenario.json").exists())


def read(name: str) -> dict[str, Any]:
    """A scenario as it is written down."""
    found: dict[str, Any] = json.loads((SCENARIOS / name / "scenario.json").read_text(encoding="utf-8"))
    return found


def prepare(name: str, folder: Path) -> str:
    """Put the files into a new folder; the prompt to give."""
    spec = read(name)
    shutil.copytree(SCENARIOS / name / "files", folder)
    if setup := spec.get("setup"):
        _run(setup, folder).check_returncode()
    form = "\n".join(f'  "{field}": {meaning}' for field, meaning in spec["answer"].items())
    return f"{spec['prompt']}\n\nWork in {folder}. At the end write {ANSWER} there, one JSON object with\n{form}\n"


def check(name: str, folder: Path) -> dict[str, bool]:
    """Each outcome in words, and whether it is there."""
    spec = read(name)
    path = folder / ANSWER
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        answer = None
    answer = answer if isinstance(answer, dict) else {}
    return {_in_words(one): _holds(one, answer, name, folder) for one in spec["outcomes"]}


def _in_words(outcome: dict[str, Any]) -> str:
    subject = outcome.get("answer") or outcome.get("file") or " ".join(outcome["run"])
    rest = {key: value for key, value in outcome.items() if key not in ("answer", "file", "run")}
    return f"{subject}: {json.dumps(rest, ensure_ascii=False)}"


def _holds(outcome: dict[str, Any], answer: dict[str, Any], name: str, folder: Path) -> bool:
    if "answer" in outcome:
        return outcome["answer"] in answer and _fits(answer[outcome["answer"]], outcome, folder)
    if "run" in outcome:
        done = _run(outcome["run"], folder)
        return done.returncode == 0 and re.search(outcome["prints"], done.stdout) is not None
    path = folder / outcome["file"]
    if not path.is_file():
        return False
    if "unchanged" in outcome:
        return _digest(path) == _original(name, outcome["file"], folder)
    found = (
        re.search(outcome.get("matches") or outcome["lacks"], path.read_text(encoding="utf-8")) is not None
    )
    return found == ("matches" in outcome)


def _fits(value: Any, outcome: dict[str, Any], folder: Path) -> bool:
    if "is" in outcome:
        return bool(value == outcome["is"])
    if "in" in outcome:
        return value in outcome["in"]
    if "from" in outcome:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and outcome["from"] <= value <= outcome["to"]
    if "exists" in outcome:
        return isinstance(value, str) and (folder / value).is_file()
    return isinstance(value, str) and re.search(outcome["matches"], value) is not None


def _original(name: str, file: str, folder: Path) -> str:
    """The digest of a file as it was handed out; what `setup` writes is written again."""
    source = SCENARIOS / name / "files"
    if (source / file).exists():
        return _digest(source / file)
    again = folder / ".again"
    shutil.rmtree(again, ignore_errors=True)
    prepare(name, again)
    digest = _digest(again / file)
    shutil.rmtree(again)
    return digest


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable if word == "python" else word for word in command]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_RUN_SECONDS, env=environment
    )


def main(words: list[str]) -> int:
    if words == ["list"]:
        for name in names():
            print(f"{name:20} {read(name)['covers']}")
        return 0
    if len(words) != 3 or words[0] not in ("prepare", "check") or words[1] not in names():
        print(__doc__, file=sys.stderr)
        return 2
    if words[0] == "prepare":
        print(prepare(words[1], Path(words[2]).absolute()))
        return 0
    found = check(words[1], Path(words[2]).absolute())
    for outcome, holds in found.items():
        print("yes" if holds else "NO ", outcome)
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Takes the pictures of references/views.md from the samples that record.py keeps; needs Chromium and pngquant:

.venv/bin/python .ci/views/photograph.py [NAME ...]
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from optimizing_resources.server.views import written_page

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "tests/samples/views"
PICTURES = ROOT / "references/images"
WIDTH, MOST_HEIGHT = 920, 1160  # what is longer is cut off: a reader wants to know what it looks like


def driver() -> ModuleType:
    """The tests' own browser."""
    spec = importlib.util.spec_from_file_location("browser", ROOT / "tests/browser.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(wanted: list[str]) -> None:
    module = driver()
    found = module.find_browser()
    if not found:
        raise SystemExit("no Chromium: apt install chromium")
    PICTURES.mkdir(exist_ok=True)
    browser = module.Browser(found)
    with tempfile.TemporaryDirectory() as scratch:
        for sample in sorted(SAMPLES.glob("*.json")):
            if not wanted or sample.stem in wanted:
                photograph(browser, sample, Path(scratch) / "page.html")
    browser.close()


def photograph(browser: Any, sample: Path, page: Path) -> None:
    """One view in both themes."""
    data = json.loads(sample.read_text(encoding="utf-8"))
    page.write_text(
        written_page(data["tool"], data["arguments"], data["report"], data["beside"]), encoding="utf-8"
    )
    for theme in ("light", "dark"):
        browser.open(page, theme=theme, width=WIDTH)
        height = min(browser.ask("document.documentElement.scrollHeight"), MOST_HEIGHT)
        picture = browser.picture(height=height)
        small = ["pngquant", "--speed", "1", "--strip", "64", "-"]
        ran = subprocess.run(small, input=picture, capture_output=True, check=True)
        (PICTURES / f"{sample.stem}-{theme}.png").write_bytes(ran.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])

"""The page: one file of HTML, with its style, scripts and data inside and nothing to fetch."""

import base64
import hashlib
from functools import cache
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from ... import __version__
from ...tools._core.data_block import data_block

_STYLES = ("vendor/uPlot.min.css", "style.css")
_FIRST = (
    "words.js",
    "elements.js",
    "commands.js",
    "charts.js",
    "scatter.js",
)  # what views use; then views/, then frame.js


def app_page(tool: str) -> str:
    """The page that a host shows for a tool; the host hands it the Report."""
    return _page({"tool": tool, "version": __version__})


def written_page(tool: str, arguments: dict[str, Any], report: dict[str, Any], beside: dict[str, Any]) -> str:
    """The page with a Report (as JSON) inside, for a file."""
    data = {"tool": tool, "arguments": arguments, "report": report, "beside": beside}
    return _page({**data, "version": __version__})


def _page(data: dict[str, Any]) -> str:
    library, style, script = _style_and_scripts()
    sources = f"script-src {_digest(library)} {_digest(script)}; style-src {_digest(style)}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; base-uri 'none'; form-action 'none'; {sources}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(data["tool"])} · optimizing-resources</title>
<style>{style}</style>
</head>
<body>
<main id="view"></main>
{data_block(data)}
<script>{library}</script>
<script>{script}</script>
</body>
</html>
"""


def _digest(text: str) -> str:
    """The only script or style that may run is the one that was put there: markup in a log cannot add another."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _style_and_scripts() -> tuple[str, str, str]:
    """The chart library, the style and our scripts."""
    assets = files(__package__).joinpath("assets")
    views = sorted(assets.joinpath("views").iterdir(), key=lambda file: file.name)
    ours = [*(assets.joinpath(name) for name in _FIRST), *views, assets.joinpath("frame.js")]
    script = '"use strict";\n(() => {\n' + "\n".join(_text(file) for file in ours) + "\n})();\n"
    style = "\n".join(_text(assets.joinpath(name)) for name in _STYLES)
    return _text(assets.joinpath("vendor/uPlot.iife.min.js")), style, script


def _text(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")

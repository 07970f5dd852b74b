"""A page or picture that carries its own data: one block that no browser shows, for whoever draws it anew."""

import json
import math
import re
from typing import Any

_BLOCK = re.compile(r'<metadata id="data"[^>]*>(.*?)</metadata>', re.DOTALL)
_UNSAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def data_block(data: Any) -> str:
    """`data` as SVG's element for such things, hidden in HTML as well; no text in it can end the element."""
    text = json.dumps(_plain(data), separators=(",", ":"))
    return f'<metadata id="data" hidden="">{text.translate(_UNSAFE)}</metadata>'


def read_data_block(page: str) -> Any:
    """The data of a page or picture; None where it carries none."""
    found = _BLOCK.search(page)
    return json.loads(found[1]) if found else None


def _plain(value: Any) -> Any:
    """NaN and infinity, which JSON lacks, as null."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

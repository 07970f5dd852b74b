"""The agent skill as files: SKILL.md and references/, under skill:// addresses, with digests."""

import hashlib
import json
from importlib.resources.abc import Traversable
from typing import Any

SCHEME = "skill://optimizing-resources/"


def skill_files(root: Traversable) -> dict[str, bytes]:
    """The skill's files by address; empty where SKILL.md is not shipped."""
    if not root.joinpath("SKILL.md").is_file():
        return {}
    references = root.joinpath("references")
    found = sorted(references.iterdir(), key=lambda file: file.name) if references.is_dir() else []
    pages = {
        f"{SCHEME}references/{file.name}": file.read_bytes() for file in found if file.name.endswith(".md")
    }
    return {f"{SCHEME}SKILL.md": root.joinpath("SKILL.md").read_bytes(), **pages}


def front_matter(text: str) -> dict[str, Any]:
    """The fields between the first two `---` lines: `key: value`, and one level of indented fields below `key:`."""
    fields: dict[str, Any] = {}
    for line in text.split("---\n")[1].splitlines():
        key, _, value = line.partition(":")
        if line.startswith("  "):
            fields[next(reversed(fields))][key.strip()] = _scalar(value)
        else:
            fields[key] = _scalar(value) if value.strip() else {}
    return fields


def skill_entry(files: dict[str, bytes]) -> dict[str, Any]:
    """How the Skills extension (SEP-2640) lists the skill."""
    return {
        "uri": f"{SCHEME}SKILL.md",
        "frontmatter": front_matter(files[f"{SCHEME}SKILL.md"].decode("utf-8")),
        "resources": [
            {"uri": uri, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}
            for uri, content in files.items()
        ],
    }


def directory(files: dict[str, bytes], uri: str) -> list[dict[str, str]]:
    """What lies directly in the folder `uri`; empty when there is no such folder."""
    prefix = uri.rstrip("/") + "/"
    below = dict.fromkeys(
        name.removeprefix(prefix).split("/")[0] for name in files if name.startswith(prefix)
    )
    return [
        {
            "uri": prefix + name,
            "name": name,
            "mimeType": "text/markdown" if prefix + name in files else "inode/directory",
        }
        for name in below
    ]


def _scalar(value: str) -> str:
    text = value.strip()
    if text.startswith('"'):
        return str(json.loads(text))
    return text[1:-1].replace("''", "'") if text.startswith("'") else text

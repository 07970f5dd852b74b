"""JSON schemas as hosts are shown them: closed, described, and without what only costs tokens."""

import typing
from typing import Any

from pydantic import BaseModel


def input_schema(request: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a Request: flat, closed, without pydantic's titles.

    A field whose default is null is one to leave out. Null is taken for it as well, but not offered: not every host's
    schema dialect has a type for it.
    """
    return typing.cast(dict[str, Any], _plain(_left_out(request.model_json_schema())))


def output_schema(report: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a Report as it is serialised, without titles."""
    return typing.cast(dict[str, Any], _plain(report.model_json_schema(mode="serialization")))


def _left_out(schema: Any) -> Any:
    """Drop the choice of null wherever it is the default."""
    if isinstance(schema, list):
        return [_left_out(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _left_out(value) for key, value in schema.items()}
    if isinstance(kept.get("type"), list):  # several types in one word, which not every dialect has either
        kept["anyOf"] = [{"type": name} for name in kept.pop("type")]
    if "anyOf" not in kept or kept.get("default", ...) is not None:
        return kept
    choices = [choice for choice in kept.pop("anyOf") if choice != {"type": "null"}]
    return {**choices[0], **kept} if len(choices) == 1 else {"anyOf": choices, **kept}


def _plain(schema: Any) -> Any:
    """Drop titles, null defaults, path formats, and the docstrings of models, which their fields repeat."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            kept[key] = {name: _plain(inner) for name, inner in value.items()}
        elif (
            key == "title"
            or (key == "description" and "properties" in schema)
            or (key, value)
            == (
                "format",
                "path",
            )
        ):
            continue
        elif not (key == "default" and value is None):
            kept[key] = _plain(value)
    return _nullable(kept)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """Write {"anyOf": [{"type": X}, {"type": "null"}]} as {"type": [X, "null"]}: the same, in a third of the space."""
    choices = schema.get("anyOf", [])
    if len(choices) != 2 or choices[1] != {"type": "null"} or not isinstance(choices[0].get("type"), str):
        return schema
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    nullable = {**choices[0], "type": [choices[0]["type"], "null"], **others}
    if "enum" in nullable:
        nullable["enum"] = [*nullable["enum"], None]
    return nullable

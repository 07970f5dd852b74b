"""The options of one command, generated from its Request, and the typed text turned back into values."""

import argparse
import difflib
import json
from typing import Annotated, Any, NoReturn

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ..tools._core.contract import Command, ToolError, input_schema

_PROGRAM = "optimizing-resources"


class Parser(argparse.ArgumentParser):
    """argparse, except that a mistake is one sentence with the nearest valid option."""

    def error(self, message: str) -> NoReturn:
        wrong = message.rpartition("unrecognized arguments: ")[2].partition(" ")[0]
        known = [option for action in self._actions for option in action.option_strings]
        near = difflib.get_close_matches(wrong.split("=")[0], known, n=1)
        hint = f"{near[0]}, or {self.prog} --help" if near else f"{self.prog} --help"
        raise ToolError(message[:1].upper() + message[1:], try_next=hint)


def parser(command: Command) -> Parser:
    """A parser with one option per field of the command's Request, dashes and underscores alike."""
    made = Parser(
        prog=f"{_PROGRAM} {command.name}",
        description=command.summary,
        epilog="A list is given by repeating its option or as JSON; an object is JSON.",
        allow_abbrev=False,
    )
    schema = input_schema(command.request)
    for name, field in command.request.model_fields.items():
        _add(made, name, field, schema["properties"][name], command.positional)
    made.add_argument("--json", action="store_true", dest="_json", help="print the whole Report as JSON")
    made.add_argument("--html", metavar="FILE", dest="_html", help="write the Report as a page as well")
    made.add_argument("--workspace", metavar="DIR", dest="_workspace", help="instead of the current folder")
    return made


def values(command: Command, typed: argparse.Namespace) -> dict[str, Any]:
    """The arguments of the Request: for each field the first reading of the typed text that its type accepts."""
    fields = command.request.model_fields
    given = {
        name: getattr(typed, name, None) or _listed(getattr(typed, _bare(name), None)) for name in fields
    }
    return {name: _read(fields[name], texts) for name, texts in given.items() if texts}


def _listed(texts: Any) -> list[str | None]:
    return [texts] if isinstance(texts, str) else texts or []


def _bare(name: str) -> str:
    """Where a field that was typed without its --name is kept until it is read."""
    return f"_bare_{name}"


def _add(
    made: Parser, name: str, field: FieldInfo, schema: dict[str, Any], positional: tuple[str, ...]
) -> None:
    described = _help(field)
    if name in positional:
        many = "*" if "array" in _types(schema) else "?"
        made.add_argument(_bare(name), nargs=many, metavar=name.upper(), help=described)
    options = dict.fromkeys([f"--{name.replace('_', '-')}", f"--{name}"])
    switch: dict[str, Any] = (
        {"nargs": "?", "const": "true"} if "boolean" in _types(schema) else {"nargs": None}
    )
    made.add_argument(
        *options, dest=name, action="append", metavar=_placeholder(schema), help=described, **switch
    )


def _help(field: FieldInfo) -> str:
    default = (
        "required"
        if field.is_required()
        else ""
        if field.default in (None, PydanticUndefined)
        else f"default: {json.dumps(field.default, default=str)}"
    )
    text = field.description or ""
    return (f"{text} ({default})" if default else text).replace("%", "%%").strip()


def _placeholder(schema: dict[str, Any]) -> str:
    choices = [str(choice) for choice in schema.get("enum", []) if choice is not None]
    if choices and len(choices) <= 6:
        return "|".join(choices)
    names = {"boolean": "true|false", "integer": "N", "number": "X", "array": "ITEM", "object": "JSON"}
    kinds = [kind for kind in _types(schema) if kind != "null"]
    return names.get(kinds[0], "TEXT") if len(kinds) == 1 else "VALUE"


def _types(schema: dict[str, Any]) -> list[str]:
    named = schema.get("type", [])
    found = [named] if isinstance(named, str) else list(named)
    return found + [kind for choice in schema.get("anyOf", []) for kind in _types(choice)]


def _read(field: FieldInfo, texts: list[str | None]) -> Any:
    """JSON before plain text, so that '[1]' is a list where a list will do; one item may stand for a list of one."""
    plain = [text for text in texts if text is not None]
    parsed = [_json(text) for text in plain]
    single = [parsed[0], plain[0]] if len(plain) == 1 else []
    readings = [*single, parsed, plain]
    annotated: Any = Annotated[field.annotation, field]
    adapter: TypeAdapter[Any] = TypeAdapter(annotated)
    for reading in readings:
        try:
            adapter.validate_python(reading)
        except ValidationError:
            continue
        return reading
    return readings[0]  # the Request will say what is wrong with it


def _json(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, str) or value is None else value

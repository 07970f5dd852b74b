"""What every tool is made of: one Request, one Report, one function."""

import types
import typing
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import ToolError, shorten
from .workspace import Workspace

__all__ = [
    "CALL",
    "Call",
    "Command",
    "Report",
    "Request",
    "Tool",
    "ToolError",
    "advice",
    "command",
    "current_call",
    "tool",
]

BRIEF_LIMIT = 1500  # characters of text a model reads per answer; the structure beside it is complete

Effect = Literal["reads", "writes", "trains", "replaces"]


class Request(BaseModel):
    """The arguments of one tool. Frozen; an unknown field is an error, never a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Report(BaseModel):
    """The answer of one tool. `brief()` is what a model reads, `readable()` what a person reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    def brief(self) -> str:
        """A text of at most BRIEF_LIMIT characters that makes sense without the structured part."""
        text = self.model_dump_json(exclude_none=True)
        return (
            text
            if len(text) <= BRIEF_LIMIT
            else text[: BRIEF_LIMIT - 40] + "... (rest in the structured result)"
        )

    def readable(self) -> str:
        """Plain lines for a terminal; a tool with more to say overrides it."""
        return "\n".join(_lines(self.model_dump(mode="json", exclude_none=True), ""))


@dataclass(frozen=True)
class Call:
    """What surrounds one call: its workspace, its cancellation and its progress."""

    workspace: Workspace = field(default_factory=Workspace.of_the_caller)
    check_cancelled: Callable[[], None] = lambda: None
    progress: Callable[[float, float | None, str], None] = lambda done, total, note: None


CALL: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call() -> Call:
    """The call in progress; a plain Python caller gets one that trusts the paths it names."""
    return CALL.get() or Call()


Function = TypeVar("Function", bound=Callable[[Any], Report])


@dataclass(frozen=True, kw_only=True)
class Command:
    """One word of the command line; its options are generated from its Request."""

    name: str
    summary: str
    request: type[Request]
    report: type[Report]
    run: Callable[[Any], Report]
    positional: tuple[str, ...] = ()  # fields that need no --name; a list takes all that follows


@dataclass(frozen=True, kw_only=True)
class Tool(Command):
    """A tool as a value: what the server lists and calls, and a word of the command line besides."""

    effect: Effect
    needs: tuple[str, ...] = ()  # modules that the caller's interpreter must offer; `doctor` looks for them


def tool(
    effect: Effect, *, needs: tuple[str, ...] = (), positional: tuple[str, ...] = ()
) -> Callable[[Function], Function]:
    """Declare a function from its Request to its Report as a tool; its first docstring line is the menu entry."""

    def declare(function: Function) -> Function:
        value = Tool(**_declared(function), positional=positional, effect=effect, needs=needs)
        setattr(function, "tool", value)  # noqa: B010  a function has no typed slot for it
        return function

    return declare


def command(*positional: str) -> Callable[[Callable[[Any], Report]], Command]:
    """Turn a function from its Request to its Report into a word of the command line that no host is offered."""

    def declare(function: Callable[[Any], Report]) -> Command:
        return Command(**_declared(function), positional=positional)

    return declare


def _declared(function: Callable[[Any], Report]) -> dict[str, Any]:
    assert isinstance(function, types.FunctionType) and function.__doc__
    hints = typing.get_type_hints(function)
    summary = function.__doc__.strip().split("\n\n")[0]
    return {
        "name": function.__name__,
        "summary": " ".join(summary.split()),
        "request": hints["request"],
        "report": hints["return"],
        "run": function,
    }


def input_schema(request: type[Request]) -> dict[str, Any]:
    """The JSON schema of a Request: flat, closed, without pydantic's titles."""
    return typing.cast(dict[str, Any], _plain(request.model_json_schema()))


def output_schema(report: type[Report]) -> dict[str, Any]:
    """The JSON schema of a Report as it is serialised, without titles."""
    return typing.cast(dict[str, Any], _plain(report.model_json_schema(mode="serialization")))


def advice(error: ToolError | ValidationError) -> str:
    """One sentence a caller can act on."""
    if isinstance(error, ToolError):
        return str(error)
    complaints: dict[tuple[str, str], list[str]] = {}
    for found in error.errors(include_url=False):
        complaints.setdefault((_place(found["loc"]), shorten(found["input"])), []).append(_complaint(found))
    return "; ".join(
        f"Argument {where!r} {' or '.join(dict.fromkeys(wants)).replace(' or should be ', ' or ')} (got {got})"
        if where
        else f"{error.title}: {' or '.join(wants)} (got {got})"
        for (where, got), wants in complaints.items()
    )


def _place(location: tuple[int | str, ...]) -> str:
    """The dotted path of a value, without the names pydantic gives to the members of a union."""
    kinds = ("str", "int", "float", "bool", "none", "path")
    tags = [i for i, part in enumerate(location) if i and (str(part) in kinds or "[" in str(part))]
    return ".".join(str(part) for part in location[: tags[0] if tags else None])


def _complaint(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "is unknown; the tool's schema lists the valid names"
    if error["type"] == "missing":
        return "is missing"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    return str(message.replace("a valid dictionary", "an object"))


def _plain(schema: Any) -> Any:
    """Drop `title` noise, null defaults, and the docstrings of models, which their fields' descriptions repeat."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            kept[key] = {name: _plain(inner) for name, inner in value.items()}
        elif key == "title" or (key == "description" and "properties" in schema):
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


def _lines(value: Any, indent: str) -> list[str]:
    if isinstance(value, dict):
        lines = []
        for key, inner in value.items():
            if isinstance(inner, dict | list) and inner:
                lines += [f"{indent}{key}:", *_lines(inner, indent + "  ")]
            else:
                lines.append(f"{indent}{key}: {inner}")
        return lines
    if isinstance(value, list):
        lines = []
        for item in value:
            first, *rest = _lines(item, indent + "  ") or [""]
            lines += [f"{indent}- {first.strip()}", *rest]
        return lines
    return [f"{indent}{value}"]

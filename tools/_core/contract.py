"""What every tool is made of: one Request, one Report, one function."""

import types
import typing
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from .arguments import advice, read
from .errors import ToolError
from .schema import input_schema, output_schema
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
    "input_schema",
    "output_schema",
    "read",
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
    gains: tuple[tuple[str, str], ...] = ()  # what more it can do, and the module that it takes


def tool(
    effect: Effect,
    *,
    needs: tuple[str, ...] = (),
    gains: tuple[tuple[str, str], ...] = (),
    positional: tuple[str, ...] = (),
) -> Callable[[Function], Function]:
    """Declare a function from its Request to its Report as a tool; its first docstring line is the menu entry."""

    def declare(function: Function) -> Function:
        value = Tool(**_declared(function), positional=positional, effect=effect, needs=needs, gains=gains)
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

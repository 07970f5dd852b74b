"""The command line: `serve` for MCP hosts, `call` for programs, and one word per tool and command for people."""

import difflib
import gc
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .. import __version__
from ..tools import load_commands, load_tools
from ..tools._core.contract import CALL, Call, Command, Report, Tool, ToolError, advice, current_call, read
from ..tools._core.leftovers import own_scratch
from ..tools._core.workspace import Workspace
from .options import Parser, parser, values

_HELP = """\
optimizing-resources: which resource binds your ML job, and what to do about it.

  optimizing-resources serve               the MCP server, over stdio or HTTP (serve --help)
  optimizing-resources call TOOL JSON      one tool for programs: JSON, @file or - (stdin) in, the Report out
  optimizing-resources TOOL --help         one tool for people: its options and what they mean
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it worked, 2 for what the caller can mend."""
    typed = sys.argv[1:] if arguments is None else arguments
    _speak_utf8()
    try:
        return _run(typed or [_default()])
    except (ToolError, ValidationError) as error:
        print(advice(error), file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has seen enough: `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _speak_utf8() -> None:
    """Whatever the locale: JSON is UTF-8, and no character of a path or a log may end a command."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # there may be none, as in a window without a console
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _default() -> str:
    return "help" if sys.stdin is not None and sys.stdin.isatty() else "serve"


def _run(typed: list[str]) -> int:
    if typed[0].partition("=")[0] == "--workspace":  # in front of the word, where many programs take it
        folder = 1 if "=" in typed[0] else 2
        typed = [*(typed[folder : folder + 1] or [_default()]), *typed[:folder], *typed[folder + 1 :]]
    word, rest = typed[0].replace("-", "_"), typed[1:]
    if word == "serve":
        gc.disable()  # an import makes no garbage worth looking for: 12 % off the start
        from .serve import serve  # the MCP SDK: 0.5 s

        return serve(rest)
    if word in ("help", "__help", "_h"):
        return _print(_help())
    if word in ("__version", "version"):
        return _print(__version__)
    if word == "call":
        return _call(rest)
    return _print(_one(_known(word, _words()), rest))


def _words() -> dict[str, Command]:
    from . import clean, config, demo, doctor, token  # 0.01 s, which `serve` has no use for

    ours = [module.COMMAND for module in (clean, config, demo, doctor, token)]
    return {**load_tools(), **load_commands(), **{command.name: command for command in ours}}


def _help() -> str:
    words = _words().values()
    tools = [_entry(word) for word in words if isinstance(word, Tool)]
    others = [_entry(word) for word in words if not isinstance(word, Tool)]
    return "\n".join([_HELP, "Tools:", *tools, "Others:", *others])


def _entry(command: Command) -> str:
    return f"  {command.name:20} {command.summary.split('. ')[0].rstrip('.')}"


def _known(word: str, words: dict[str, Command]) -> Command:
    if word not in words:
        near = difflib.get_close_matches(word, words, n=1)
        raise ToolError(
            "No such command", saw=word, try_next=near[0] if near else f"one of {', '.join(words)}"
        )
    return words[word]


def _call(rest: list[str]) -> int:
    made = Parser(prog="optimizing-resources call", description="Run one tool; print its Report as JSON.")
    made.add_argument("tool", metavar="TOOL")
    made.add_argument(
        "arguments", metavar="JSON", nargs="?", default="{}", help="JSON text, @file, or - for stdin"
    )
    made.add_argument("--workspace", metavar="DIR", help="instead of the current folder")
    made.add_argument("--html", metavar="FILE", help="write the Report as a page as well")
    typed = made.parse_args(rest)
    command = _known(typed.tool.replace("-", "_"), {**load_tools(), **load_commands()})
    given = _object(_text(typed.arguments))
    return _print(_report(command, given, typed.workspace, typed.html).model_dump_json())


def _text(argument: str) -> str:
    if argument == "-":
        return sys.stdin.read()
    if not argument.startswith("@"):
        return argument
    try:
        return Path(argument[1:]).read_text(encoding="utf-8-sig")  # some editors put a mark in front
    except (OSError, UnicodeDecodeError) as error:
        raise ToolError("The arguments cannot be read", saw=str(error), try_next="a file of JSON") from error


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ToolError(
            "The arguments are not JSON", saw=f"{text}: {error}", try_next="'{\"name\": value}'"
        ) from error
    if not isinstance(value, dict):
        raise ToolError("The arguments are no JSON object", saw=text, try_next="'{\"name\": value}'")
    return value


def _one(command: Command, rest: list[str]) -> str:
    typed = parser(command).parse_args(rest)
    report = _report(command, values(command, typed), typed._workspace, typed._html)
    return report.model_dump_json(indent=2) if typed._json else _coloured(report)


def _report(command: Command, given: dict[str, Any], folder: str | None, page: str | None) -> Report:
    """What came of one command; also as a page, where a file is named for it."""
    if page and not Path(page).resolve().parent.is_dir():
        raise ToolError(
            "The folder of the page does not exist", saw=page, try_next="a file in an existing folder"
        )
    request = read(command.request, given)
    _surround(folder)
    report = command.run(request)
    if page:
        _write_page(Path(page), command.name, given, report)
    return report


def _write_page(path: Path, name: str, given: dict[str, Any], report: Report) -> None:
    from .views import beside, written_page  # 0.01 s, which few calls want

    shown = json.loads(report.model_dump_json())
    page = written_page(name, given, shown, beside(name, shown, current_call().workspace))
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ToolError("The page cannot be written", saw=str(error), try_next="another file") from error
    print(f"page: {path.resolve()}", file=sys.stderr)


def _surround(folder: str | None) -> None:
    """Make the call's workspace the folder named, and show progress where a person is watching."""
    root = Path(folder) if folder else None
    if root and not root.is_dir():
        raise ToolError("The workspace is no folder", saw=folder, try_next="an existing folder")
    workspace = Workspace.of_the_caller(root)
    own_scratch()
    CALL.set(Call(workspace, progress=_show) if sys.stderr.isatty() else Call(workspace))


def _show(done: float, total: float | None, note: str) -> None:
    share = f"{done / total:4.0%} " if total else ""
    print(f"\r\033[K{share}{note}", end="", file=sys.stderr, flush=True)


def _coloured(report: Report) -> str:
    """The readable report, its headings in bold where the output is a terminal that wants colours."""
    lines = report.readable().splitlines()
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return "\n".join(lines)
    below = [*lines[1:], ""]
    return "\n".join(
        f"\033[1m{line}\033[0m"
        if line[:1].strip() and (follower.startswith("  ") or line.endswith(":"))
        else line
        for line, follower in zip(lines, below, strict=True)
    )


def _print(text: str) -> int:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)  # the last line of progress
    print(text, flush=True)
    return 0

"""Where module-level names and imports go, and names that are still free."""

import ast
import re

from .edits import Line
from .script import Script


def header_line(script: Script) -> int:
    """The line before which module-level settings go: after the leading imports and the import of torch."""
    body = script.tree.body
    last = 0
    torch_seen = False
    for statement in body:
        holds_import = any(isinstance(n, ast.Import | ast.ImportFrom) for n in ast.walk(statement))
        plain = isinstance(statement, ast.Import | ast.ImportFrom)
        guarded = isinstance(statement, ast.Try | ast.If) and holds_import and not _defines(statement)
        if plain or (guarded and not torch_seen):
            last = statement.end_lineno or statement.lineno
            torch_seen = torch_seen or (plain and _imports_torch(statement))
        elif (
            isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.For | ast.While | ast.With)
            and torch_seen
        ) or (isinstance(statement, ast.If) and torch_seen):
            break
    if last:
        return last + 1
    first = body[0]
    docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return (first.end_lineno or 1) + 1 if docstring else first.lineno


def _defines(statement: ast.stmt) -> bool:
    return any(isinstance(n, ast.For | ast.While) for n in ast.walk(statement))


def _imports_torch(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Import):
        return any(alias.name.split(".")[0] == "torch" for alias in statement.names)
    return isinstance(statement, ast.ImportFrom) and (statement.module or "").split(".")[0] == "torch"


def free_name(script: Script, wanted: str) -> str:
    """The name itself, or with underscores behind it where the file uses it already."""
    while wanted in script.spelled:
        wanted += "_"
    return wanted


def header(script: Script, lines: list[str]) -> Line:
    """Module-level lines as one block with a blank line around it, and two around what it defines."""
    before = header_line(script)
    first = [""] if before > 1 else []
    last = ["", ""] if before == 1 and isinstance(script.tree.body[0], ast.ClassDef | ast.FunctionDef) else []
    text = re.sub("\n{4,}", "\n\n\n", "\n".join([*first, *lines, *last]))
    return Line(before, "", text, settings=True)

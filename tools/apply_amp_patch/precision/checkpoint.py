"""The scaler's state beside the optimizer's: saved with it, loaded where an old checkpoint may lack it."""

import ast

from ..arguments import further_argument
from ..context import Context
from ..edits import Edit, Line, Span, indent_unit
from ..flow import path
from ..patch import Site
from ..script import Script

_KEY = "amp_scaler"
_SAVED = "the checkpoint keeps the scaler's scale"


def checkpoint_edits(context: Context, scaler: str, remedy: str) -> tuple[list[Edit], list[Site]]:
    """Edits for every dictionary that saves an optimizer of this script and every load of one."""
    optimizers = {s.path for s in context.training.steps}
    saved, saves = _saved(context.script, optimizers, scaler, remedy)
    loaded, loads = _loaded(context.script, optimizers, scaler, remedy)
    return [*saved, *loaded], [*saves, *loads]


def _saved(script: Script, optimizers: set[str], scaler: str, remedy: str) -> tuple[list[Edit], list[Site]]:
    """An entry for the scaler beside each optimizer's."""
    edits: list[Edit] = []
    sites: list[Site] = []
    for node in script.nodes:
        if isinstance(node, ast.Call) and script.called(node) == "builtins.dict":
            if any(_is_state_of(k.value, optimizers) for k in node.keywords):
                edits.append(further_argument(script, node, f"{_KEY}={scaler}.state_dict()"))
                sites.append(Site(node.lineno, remedy, "edit", "scaler_state", _SAVED))
            continue
        if not isinstance(node, ast.Dict):
            continue
        value = next((v for v in node.values if _is_state_of(v, optimizers)), None)
        if value is None:
            continue
        key = node.keys[node.values.index(value)]
        entry = f'"{_KEY}": {scaler}.state_dict()'
        alone = key is not None and _own_line(script, key, value)
        if key is not None and alone:
            follows = script.text[script.end(value) :].lstrip()[:1] == ","
            if not follows:
                edits.append(Span(script.end(value), script.end(value), ","))
            line = (value.end_lineno or value.lineno) + 1
            edits.append(Line(line, script.indentation(key.lineno), f"{entry},"))
        else:
            edits.append(Span(script.end(value), script.end(value), f", {entry}"))
        sites.append(Site(value.lineno, remedy, "edit", "scaler_state", _SAVED))
    return edits, sites


def _loaded(script: Script, optimizers: set[str], scaler: str, remedy: str) -> tuple[list[Edit], list[Site]]:
    """The scaler's state behind each load of an optimizer, once for each checkpoint of a function."""
    edits: list[Edit] = []
    sites: list[Site] = []
    loaded: set[tuple[ast.AST | None, str]] = set()
    for call in script.method_calls("load_state_dict"):
        assert isinstance(call.func, ast.Attribute)
        source = call.args[0] if call.args else None
        if ast.unparse(call.func.value) not in optimizers or not isinstance(source, ast.Subscript):
            continue
        if not (isinstance(source.slice, ast.Constant) and isinstance(source.slice.value, str)):
            continue  # a list of states has no room for one more
        holder, statement = path(source.value), script.statement(call)
        if holder is None or not isinstance(statement, ast.Expr):
            continue
        if (script.function(call), holder) in loaded:
            continue  # one scaler serves all optimizers
        loaded.add((script.function(call), holder))
        indent, unit = script.indentation(statement.lineno), indent_unit(script, statement.lineno)
        text = f'if {holder}.get("{_KEY}"):\n{unit}{scaler}.load_state_dict({holder}["{_KEY}"])'
        edits.append(Line((statement.end_lineno or statement.lineno) + 1, indent, text))
        sites.append(
            Site(
                call.lineno,
                remedy,
                "edit",
                "scaler_state",
                "loads the scale; a checkpoint from before has none",
            )
        )
    return edits, sites


def _own_line(script: Script, key: ast.expr, value: ast.expr) -> bool:
    """Nothing else of the dictionary stands on the entry's lines."""
    line = value.end_lineno or value.lineno
    stop = script.line_starts[line] if line < len(script.line_starts) else len(script.text)
    before = script.text[script.line_starts[key.lineno - 1] : script.start(key)]
    after = script.text[script.end(value) : stop].split("#")[0]
    return not before.strip() and not after.strip(" ,\t\r\n")


def _is_state_of(node: ast.expr, optimizers: set[str]) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "state_dict"
        and ast.unparse(node.func.value) in optimizers
    )

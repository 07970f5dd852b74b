"""What is taken out of tuples and dictionaries on the way of a value."""

import ast

Picks = tuple[int | str, ...]  # outermost first


class Unproven(Exception):
    """A value that cannot be followed to where it is formed."""


def picked(index: ast.expr) -> Picks:
    """The constant in `pair[0]`, `out["probs"]`, `outputs[-1]`."""
    try:
        value = ast.literal_eval(index)
    except ValueError:
        return ()
    return (value,) if isinstance(value, int | str) and not isinstance(value, bool) else ()


def of_tensor(picks: Picks) -> Picks:
    """What is left to take out of a tuple below a tensor: nothing, as numbers count the tensor's rows."""
    if any(isinstance(p, str) for p in picks):
        raise Unproven
    return ()


def element(elements: list[ast.expr], picks: Picks) -> ast.expr:
    if not picks or not isinstance(picks[0], int) or any(isinstance(e, ast.Starred) for e in elements):
        raise Unproven
    if not -len(elements) <= picks[0] < len(elements):
        raise Unproven
    return elements[picks[0]]


def entry(node: ast.Dict, picks: Picks) -> ast.expr:
    pairs = zip(node.keys, node.values, strict=True)
    values = [v for k, v in pairs if isinstance(k, ast.Constant) and picks[:1] == (k.value,)]
    if len(values) != 1 or None in node.keys:
        raise Unproven
    return values[0]


def is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        return is_number(node.operand)
    if isinstance(node, ast.BinOp):
        return is_number(node.left) and is_number(node.right)
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)

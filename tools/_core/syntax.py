"""Python text as a tree, built by one thread at a time."""

import ast
import threading

# CPython (seen in 3.11.7) counts the depth of the tree it builds once for all threads: where two build at a time,
# ast.parse now and then ends with SystemError "AST constructor recursion depth mismatch".
_ONE_AT_A_TIME = threading.Lock()


def parse(text: str) -> ast.Module:
    """The tree of a file. Raises what ast.parse does: SyntaxError, ValueError, RecursionError."""
    with _ONE_AT_A_TIME:
        return ast.parse(text)


def parse_expression(text: str) -> ast.Expression:
    """The tree of one expression. Raises the same."""
    with _ONE_AT_A_TIME:
        return ast.parse(text, mode="eval")

"""How text that a pattern matches can begin: a quick look for that spares most texts the pattern itself."""

import re
import string

# Plain characters and escaped punctuation, up to what may be left out or repeated.
_LITERAL = re.compile(r"(?:\\[^\w\s]|[^\\.\[\](){}?*+|^$])*(?![?*{])")
_TOKEN = re.compile(r"\\.|\[[^\]]*\]|.")
_ONE_OF = re.compile(r"\\d|\[[0-9-]+\](?![?*{])")


def beginnings(pattern: str, characters: int) -> set[str]:
    """Whatever the pattern matches begins with one of these, of at most `characters`; "" where the start is open."""
    return _of_group(f"(?:{pattern})", characters)


def _of_group(pattern: str, characters: int) -> set[str]:
    choices, rest = _leading_group(pattern)
    if rest.startswith(("*", "+", "{")):
        return {""}
    if rest.startswith("?"):
        choices, rest = [*choices, ""], rest[1:]
    return {head for choice in choices for head in _of_sequence(choice + rest, characters)}


def _of_sequence(pattern: str, characters: int) -> set[str]:
    pattern = pattern.removeprefix(r"\b")
    if pattern.startswith("(?:"):
        return _of_group(pattern, characters)
    if one_of := _ONE_OF.match(pattern):
        return set(re.findall(one_of[0], string.digits))
    literal = _LITERAL.match(pattern)
    assert literal
    return {literal[0].replace("\\", "")[:characters]}


def _leading_group(pattern: str) -> tuple[list[str], str]:
    """The alternatives of the group with which a pattern begins, and what follows the group."""
    choices, depth = [""], 1
    for token in _TOKEN.finditer(pattern, len("(?:")):
        depth += (token[0] == "(") - (token[0] == ")")
        if depth == 0:
            return choices, pattern[token.end() :]
        if token[0] == "|" and depth == 1:
            choices.append("")
        else:
            choices[-1] += token[0]
    raise AssertionError(f"unbalanced: {pattern}")

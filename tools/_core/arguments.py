"""What a caller gave, read as a Request, and the one sentence that says what is wrong with it."""

import difflib
import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from .errors import ToolError, shorten

_TOLD = 3  # complaints in one sentence
_SHORT_CHARACTERS = 60

Model = TypeVar("Model", bound=BaseModel)


def read(request: type[Model], given: dict[str, Any]) -> Model:
    """The Request that the arguments make; ToolError with the nearest valid names where one is unknown."""
    try:
        return request.model_validate(given)
    except ValidationError as error:
        raise ToolError(advice(error), try_next=", ".join(_better_names(error, request))) from error


def advice(error: ToolError | ValidationError) -> str:
    """One sentence a caller can act on."""
    if isinstance(error, ToolError):
        return str(error)
    complaints: dict[tuple[str, str], list[str]] = {}
    for found in error.errors(include_url=False):
        complaints.setdefault((_place(found["loc"]), shorten(found["input"])), []).append(_complaint(found))
    told = [_told(where or error.title, wants, got) for (where, got), wants in complaints.items()]
    more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
    return "; ".join([*told[:_TOLD], *more])


def _better_names(error: ValidationError, request: type[BaseModel]) -> Iterator[str]:
    for found in error.errors(include_url=False):
        name = str(found["loc"][0]) if len(found["loc"]) == 1 else ""
        if found["type"] == "extra_forbidden" and name:
            near = difflib.get_close_matches(name, request.model_fields, n=1)
            yield from near or [f"one of {', '.join(request.model_fields)}"]
        elif found["type"] == "missing" and name:
            choices = get_args(request.model_fields[name].annotation)
            if choices and all(isinstance(choice, str) for choice in choices):
                yield f"one of {', '.join(choices)}"
        elif found["type"] == "list_type" and name and _is_short(found["input"]):
            words = found["input"].split() if name == "command" else [found["input"]]
            yield json.dumps(words[:_TOLD])


def _is_short(value: object) -> bool:
    """Whether a value is a text short enough to be shown whole."""
    return isinstance(value, str) and len(value) <= _SHORT_CHARACTERS


def _told(where: str, wants: list[str], got: str) -> str:
    """All that the members of a union want of one value, in one breath."""
    wish = " or ".join(dict.fromkeys(wants)).replace(" or should be ", " or ")
    return f"Argument {where!r} {wish} (got {got})"


def _place(location: tuple[int | str, ...]) -> str:
    """The dotted path of a value, without the names pydantic gives to the members of a union."""
    kinds = re.compile(r"str|int|float|bool|none|path|constrained-\w+|.*\[.*|[A-Z].*")
    tags = [i for i, part in enumerate(location) if i and kinds.fullmatch(str(part))]
    return ".".join(str(part) for part in location[: tags[0] if tags else None])


def _complaint(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "is unknown"
    if error["type"] == "missing":
        return "is missing"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    return re.sub(r" or instance of \w+", "", message.replace("a valid dictionary", "an object"))

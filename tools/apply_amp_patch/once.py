"""What is found out only once about a script."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

from .script import Script

P = ParamSpec("P")
T = TypeVar("T")


def once(function: Callable[Concatenate[Script, P], T]) -> Callable[Concatenate[Script, P], T]:
    """Keep what a function says of a script, with the script; its other arguments are hashable."""

    @wraps(function)
    def kept(script: Script, *args: P.args, **kwargs: P.kwargs) -> T:
        asked = (function, args, tuple(kwargs.items()))
        if asked not in script.known:
            script.known[asked] = function(script, *args, **kwargs)
        return cast(T, script.known[asked])

    return kept  # type: ignore[return-value]

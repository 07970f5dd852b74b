"""Turning what an engine raises into the reply its tool expects."""

from collections.abc import Callable
from typing import Any

from .._core.errors import ToolError


def replying(
    work: Callable[[dict[str, Any], Any], dict[str, Any]],
) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """`work` as an engine's `answer`: what the caller can mend becomes a refusal, with its sentence unchanged."""

    def answer(request: dict[str, Any], progress: Any) -> dict[str, Any]:
        try:
            return work(request, progress)
        except ToolError as error:
            return {"refused": {"problem": str(error).removesuffix(".")}}

    return answer

"""Fields inside the Request: closed models that name the nearest valid field, and numbers with their limits."""

import difflib
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """Frozen; an unknown field is refused with the nearest valid ones, and NaN and infinity are no numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = [name for field, info in cls.model_fields.items() for name in _names(field, info)]
        for name, given in value.items():
            if isinstance(given, bool) and name in known and _is_number(cls, name):
                raise ValueError(f"{name} should be a number, not {str(given).lower()}")
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=3)
                raise ValueError(f"unknown field {name!r}; try {' or '.join(near) or ', '.join(known)}")
        return value


def _is_number(model: type[BaseModel], name: str) -> bool:
    """Where true would be read as 1."""
    return name in model.model_fields and bool(
        {float, int} & set(_types(model.model_fields[name].annotation))
    )


def _types(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in typing.get_args(annotation):
        yield from _types(part)


def _names(field: str, info: Any) -> list[str]:
    alias = info.validation_alias
    return [field] if alias is None else [str(choice) for choice in alias.choices]


def _share(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 < value <= 100:
        raise ValueError(f"a share between 0 and 1 is wanted: {value / 100:g}, not {value:g}")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("a whole number is wanted; fractions of a card are a property of the machine")
    return value


Amount = Annotated[float, Field(ge=0, le=1e18)]
Positive = Annotated[float, Field(gt=0, le=1e18)]
Share = Annotated[float, BeforeValidator(_share), Field(gt=0, le=1)]
Discount = Annotated[float, BeforeValidator(_share), Field(gt=0, lt=1)]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=100_000)]

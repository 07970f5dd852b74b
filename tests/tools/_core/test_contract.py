"""Requests, Reports, their schemas, and the sentences that refuse."""

import json
from typing import Literal

import pytest
from optimizing_resources.tools._core.contract import (
    Report,
    Request,
    ToolError,
    command,
    input_schema,
    output_schema,
    read,
    tool,
)
from pydantic import BaseModel, Field, ValidationError, field_validator


class Inner(BaseModel):
    """A docstring no host needs."""

    size: int = Field(description="How big.")


class PackRequest(Request):
    items: list[Inner] = Field([], description="What to pack.")
    label: str | None = Field(None, description="A label.")
    title: Literal["a", "b"] | None = Field(None, description="A field that is called title.")
    budget: Literal["none"] | float = Field("none", description="Dollars.")

    @field_validator("label")
    @classmethod
    def _no_blank(cls, label):
        if label == "":
            raise ValueError("wants at least one letter")
        return label


class PackReport(Report):
    text: str
    figure: float | None = None


@tool(effect="writes", needs=("torch",))
def pack(request: PackRequest) -> PackReport:
    """Pack items
    tightly.

    Further words are for readers of the code.
    """
    return PackReport(text="")


def test_the_first_paragraph_of_the_docstring_is_the_menu_entry():
    assert pack.tool.summary == "Pack items tightly." and pack.tool.name == "pack"
    assert pack.tool.needs == ("torch",) and pack.tool.run is pack


def test_a_command_is_a_word_of_the_command_line_and_no_tool():
    @command("label")
    def unpack(request: PackRequest) -> PackReport:
        """Undo it."""
        return PackReport(text=request.label or "")

    assert (unpack.name, unpack.positional) == ("unpack", ("label",))
    assert unpack.run(PackRequest(label="x")).text == "x" and not hasattr(unpack, "effect")


def test_a_schema_is_closed_described_and_free_of_noise():
    schema = input_schema(PackRequest)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["label"] == {"type": "string", "description": "A label."}
    assert schema["properties"]["title"]["enum"] == ["a", "b"]  # the field survives, the noise does not
    text = json.dumps(schema)
    assert '"title": "' not in text and "docstring" not in text and '"default": null' not in text
    assert output_schema(PackReport)["properties"]["text"] == {"type": "string"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"lable": "x"}, "Argument 'lable' is unknown (got x); try label."),
        ({"zzz": "a\nb"}, "Argument 'zzz' is unknown (got a b); try one of items, label, title, budget."),
        ({"items": [{}]}, "Argument 'items.0.size' is missing (got {})."),
        (
            {"items": [{}] * 9},
            "is missing (got {}); Argument 'items.2.size' is missing (got {}); and 6 more.",
        ),
        ({"title": "c"}, "Argument 'title' should be 'a' or 'b' (got c)."),
        ({"label": ""}, "Argument 'label' wants at least one letter (got )."),
        (
            {"budget": "much"},
            "Argument 'budget' should be 'none' or a valid number, unable to parse string as a number "
            "(got much).",
        ),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_seen(arguments, sentence):
    with pytest.raises(ToolError) as refused:
        read(PackRequest, arguments)
    assert str(refused.value).endswith(sentence) and "\n" not in sentence


def test_a_tool_error_says_what_is_wrong_what_was_seen_and_what_to_try():
    error = ToolError("No such\nfile", saw="x" * 500, try_next="another")
    assert str(error).startswith("No such file (saw xxx") and str(error).endswith("; try another.")
    assert len(str(error)) < 200


def test_a_brief_is_compact_and_never_longer_than_its_limit():
    assert PackReport(text="ü", figure=float("nan")).brief() == '{"text":"ü","figure":null}'
    assert len(PackReport(text="x" * 9000).brief()) <= 1500


def test_a_request_cannot_be_changed():
    with pytest.raises(ValidationError):
        PackRequest().label = "y"

"""The prompts a user can pick in a host: one per journey, each of which begins with triage_constraint."""

from typing import Any, NamedTuple

from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    GetPromptResult,
    ListPromptsResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)


class Journey(NamedTuple):
    """What the user says, what to collect for triage_constraint, and what the plan must not skip."""

    title: str
    collect: str
    mind: str


JOURNEYS = {
    "out_of_memory": Journey(
        "I ran out of memory",
        'the whole error text or the log, the script, and `hardware: "detect"` if it ran on this machine',
        "Predict a remedy's effect with estimate_memory before changing the script, where that tool is listed.",
    ),
    "too_slow": Journey(
        "It is too slow",
        "whether training or inference is slow, the seconds now and the seconds wanted, the log, and the script",
        "Measure where the time goes first: a starved GPU and a busy GPU need opposite remedies.",
    ),
    "too_little_data": Journey(
        "I have too little data",
        "how many samples (per class or series), what is predicted, and the training and validation scores",
        "A simple baseline comes first; augmentation counts only if held-out data improves.",
    ),
    "too_expensive": Journey(
        "It is too expensive",
        "the bill or price and what it pays for, how busy the machine is, and which deadline or latency must hold",
        "Prices carry a date and a source: show both.",
    ),
    "no_gpu": Journey(
        "I have no GPU",
        'what has to run, on which machine (`hardware: "detect"` for this one), and how fast it has to be',
        "First rule out a GPU that is there but not seen: driver, CPU-only build, hidden device.",
    ),
}

_ARGUMENTS = [
    PromptArgument(name="situation", description="What happened: error text, numbers, what you want."),
    PromptArgument(name="log_path", description="A log file in the workspace."),
    PromptArgument(name="script_path", description="The script that ran."),
]


async def list_prompts(context: Any, params: Any) -> ListPromptsResult:
    """Every journey."""
    return ListPromptsResult(
        prompts=[
            Prompt(
                name=name,
                title=journey.title,
                description=f"{journey.title}: find out why and what to do.",
                arguments=_ARGUMENTS,
            )
            for name, journey in JOURNEYS.items()
        ]
    )


async def get_prompt(context: Any, params: Any) -> GetPromptResult:
    """One journey, with what the user already gave."""
    if params.name not in JOURNEYS:
        raise MCPError(INVALID_PARAMS, f"No such prompt: {params.name}; one of {', '.join(JOURNEYS)}")
    text = _text(JOURNEYS[params.name], params.arguments or {})
    message = PromptMessage(role="user", content=TextContent(type="text", text=text))
    return GetPromptResult(description=JOURNEYS[params.name].title, messages=[message])


def _text(journey: Journey, given: dict[str, str]) -> str:
    facts = [f"- {name}: {value}" for name, value in given.items() if value]
    return "\n".join(
        [
            f"{journey.title}.",
            *facts,
            "",
            f"1. Call triage_constraint first. It wants {journey.collect}. Ask me only for what you cannot find.",
            "2. Tell me the constraint, the evidence it quotes, and its decisive_check if the evidence left it open.",
            "3. Work the plan in order, one step at a time, with the tool and arguments each step carries; supply "
            "what its `needs` lists. Measure before and after; keep a step only if the second measurement is better.",
            f"4. {journey.mind}",
            "5. If a tool declines, pass its reason on. If the plan runs out, name its fallback.",
        ]
    )

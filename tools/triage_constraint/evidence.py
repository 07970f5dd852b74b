"""Evidence that a reader can check: the line that says it, where it stands, and what it shows."""

from pydantic import BaseModel, ConfigDict, Field

from .._core.machine import Accelerator, Machine
from .._core.quantity import GIB, human_bytes
from .clues import Clue
from .numbers import Numbers, size
from .reading import Material
from .script import ScriptFacts

_QUOTE_CHARACTERS = 240
_LEAD_CHARACTERS = 120  # of a sentence before the clue in it
_FOREIGN_SHARE = 0.10  # of a card: less than this in other processes does not decide an out-of-memory


class Evidence(BaseModel):
    """One piece of evidence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quote: str
    line: int | None = Field(
        description="In the log, the text or the script; null for the machine's own facts."
    )
    source: str = Field(description="text, the log's or the script's name, hardware, or measurement.")
    shows: str


def quotes(clues: list[Clue], material: Material, most: int = 4) -> list[Evidence]:
    """The lines behind the strongest clues, each line once."""
    found: dict[object, Evidence] = {}
    for clue in clues:
        if clue.source == "measurement":
            found[clue] = Evidence(quote="", line=None, source="measurement", shows=clue.shows)
            continue
        line, inside = material.line_at(clue.start)
        if line not in found:
            quote = _around(line.text, inside)
            found[line] = Evidence(quote=quote, line=line.number, source=line.source, shows=clue.shows)
        if len(found) == most:
            break
    return list(found.values())


def by_script(script: ScriptFacts | None, constraint: str) -> tuple[list[Evidence], str | None]:
    """Lines of the script that explain the constraint, and the sub-cause they establish."""
    if script is None:
        return [], None
    relevant = {"gpu_memory": "leak", "host_memory": "leak", "compute_time": "data_loader_bound"}.get(
        constraint
    )
    found = [
        Evidence(quote=source, line=line, source=script.path, shows=shows)
        for line, source, shows, cause in script.findings
        if cause == relevant
    ]
    # a loader without workers is normal in a script whose data is in memory: only the leak decides by itself
    return found[:3], relevant if found and relevant == "leak" else None


def by_machine(
    machine: Machine | None, constraint: str, numbers: Numbers
) -> tuple[list[Evidence], str | None]:
    """What the machine's own facts say about the constraint, and the sub-cause they establish."""
    if machine is None:
        return [], None
    if constraint == "gpu_memory":
        return _by_card(machine, numbers)
    limit = machine.memory.limit_bytes
    if (
        constraint == "host_memory"
        and limit
        and machine.memory.total_bytes
        and limit < 0.9 * machine.memory.total_bytes
    ):
        shows = (
            f"this process may take {human_bytes(limit)} of the machine's "
            f"{human_bytes(machine.memory.total_bytes)}"
        )
        cause = "slurm_limit" if machine.limits.scheduler == "slurm" else "container_limit"
        return [_fact(f"memory.limit_bytes = {limit}", shows)], cause
    reason = machine.software.cuda_unavailable_reason
    if constraint == "no_gpu" and reason:
        cause = "driver_or_visibility" if machine.accelerators else "no_device"
        if (
            machine.accelerators
            and machine.software.torch_version
            and not machine.software.torch_cuda_version
        ):
            cause = "cpu_only_build"
        return [_fact("software.cuda_unavailable_reason", reason)], cause
    return [], None


def _by_card(machine: Machine, numbers: Numbers) -> tuple[list[Evidence], str | None]:
    for card in machine.accelerators:
        held, holders = _held_by_others(card)
        if card.memory_bytes and held >= _FOREIGN_SHARE * card.memory_bytes and _explains(held, numbers):
            return [_fact(holders, f"others hold {human_bytes(held)} of {card.name}")], "other_process"
    card_of_log = _same_size(machine.accelerators, numbers)
    if card_of_log and card_of_log.is_mig_slice:
        slice_name = f"{card_of_log.name} {card_of_log.mig_profile or ''}".strip()
        return [_fact(slice_name, "the device is a MIG slice")], "mig_slice"
    return [], None


def _held_by_others(card: Accelerator) -> tuple[int, str]:
    """What processes that are not known to be ours hold on a card; the memory in use where no process is named."""
    others = [p for p in card.processes if p.is_own is not True and p.memory_bytes]
    if not card.processes:
        return card.used_bytes or 0, f"accelerators[{card.index}].used_bytes = {card.used_bytes}"
    names = (f"{p.name or 'process'} {p.pid}: {human_bytes(p.memory_bytes or 0)}" for p in others[:3])
    return sum(p.memory_bytes or 0 for p in others), ", ".join(names)


def _explains(held_bytes: int, numbers: Numbers) -> bool:
    """Whether the failed request would have fitted into what others hold, and the log's own account leaves room for it.

    The machine is looked at after the crash: others that came later cannot have filled a card that the log fills alone.
    """
    tried, total = size(numbers, "tried_gib"), size(numbers, "total_gib")
    allocated, free = size(numbers, "allocated_gib"), size(numbers, "free_gib")
    if tried is not None and held_bytes < tried * GIB:
        return False
    if total is None or allocated is None or free is None:
        return True
    foreign = total - allocated - free - (size(numbers, "reserved_unalloc_gib") or 0.0)
    return foreign >= _FOREIGN_SHARE * total


def _same_size(cards: list[Accelerator], numbers: Numbers) -> Accelerator | None:
    total = size(numbers, "total_gib")
    if total is None:
        return cards[0] if len(cards) == 1 else None
    near = [c for c in cards if c.memory_bytes and abs(c.memory_bytes / GIB - total) < 0.1 * total]
    return near[0] if near else None


def _fact(quote: str, shows: str) -> Evidence:
    return Evidence(quote=quote, line=None, source="hardware", shows=shows)


def _around(line: str, inside: int) -> str:
    """The part of a long line that holds the clue."""
    start = max(0, min(inside - 40, len(line) - _QUOTE_CHARACTERS))
    if start:  # from the start of its sentence, or of a word, on
        sentence = line.rfind(". ", max(0, inside - _LEAD_CHARACTERS), inside) + 2
        start = sentence if sentence > 1 else line.find(" ", start, inside) + 1 or start
    return line[start : start + _QUOTE_CHARACTERS].strip()

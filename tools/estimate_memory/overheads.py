"""What a card takes beside torch's allocator, once it was seen: remembered in the workspace's ledger.

Seen in one of three ways, all of them rows of the ledger: by a small step on the machine's own card, in an
out-of-memory message that counts its own process, in a run that measure_run measured.
"""

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from .._catalog.gpus import candidates
from .._core.errors import ToolError
from .._core.ledger import Figure, Run, append, ledger_path, new_id, now, open_ledger, read_run
from .._core.quantity import GIB, MIB
from .._core.worker import Limits, run
from .._core.workspace import ARTIFACT_FOLDER, Workspace
from .card import CONTEXT_LOW_BYTES, ENGINE, Card
from .oom_text import OutOfMemoryMessage

LABEL = "overheads of a card"
PROBE_SECONDS = 90.0
PROBE_FREE_BYTES = 4 * GIB  # a card with less free is not touched: two contexts and a small step take under 2
CREDIBLE_BYTES = (
    80 * MIB,
    4 * GIB,
)  # of a context with its libraries; else the figures are of several processes
_SAME_CARD = 0.1  # by which a message may differ from the catalog, which often knows the nominal size only
_LATEST = 50  # rows that are looked at

_in_vain: set[tuple[Path, str]] = (
    set()
)  # interpreter and card that could not be measured, until this process ends


@dataclass(frozen=True)
class Overheads:
    """Context and libraries of one process, and cuBLAS's workspace in the allocator, as seen on this card."""

    context_bytes: int
    least_context_bytes: int  # before a kernel of a library was loaded; assumed where a whole run was seen
    cublas_bytes: int | None
    source: str


def known(card: Card, workspace: Workspace) -> Overheads | None:
    """The latest that this workspace's ledger knows of the card; cuBLAS's workspace from the latest that has it."""
    seen = [found for row in _rows(card, workspace) if (found := _read(row))]
    cublas = next((one.cublas_bytes for one in seen if one.cublas_bytes is not None), None)
    return replace(seen[0], cublas_bytes=cublas) if seen else None


def learn_from_message(card: Card, message: OutOfMemoryMessage, workspace: Workspace) -> None:
    """Keep the context of a message that counts its own process, if it is of this card and says something new."""
    own, total = message.own_context, card.memory_bytes
    if (
        own is None
        or not total
        or workspace.refusal
        or abs(message.total / total - 1) > _SAME_CARD
        or not _credible(own)
    ):
        return
    latest = known(card, workspace)
    if latest is None or latest.context_bytes != own:
        _keep(card, workspace, {"context_bytes": own}, {"seen": "an out-of-memory message"})


def measure(card: Card, python: Path, workspace: Workspace) -> str | None:
    """Measure the machine's own card under this interpreter, unless that was done; why not, where it cannot be."""
    conditions = {"python": str(python), "driver": card.driver}
    if any(row.conditions.items() >= conditions.items() for row in _rows(card, workspace)):
        return None
    if (card.free_bytes or 0) < PROBE_FREE_BYTES:
        return "too little of it is free"
    if (python, card.name) in _in_vain:
        return "an earlier attempt failed"
    try:
        found = run(ENGINE, {"overheads": card.visible_as}, python=python, limits=Limits(PROBE_SECONDS))
    except ToolError as error:
        _in_vain.add((python, card.name))
        return str(error).rstrip(".")
    seen = f"a small step with torch {found.pop('torch_version')}"
    if _credible(found["context_bytes"]):
        _keep(card, workspace, found, {**conditions, "seen": seen})
    return None


def _credible(context: int) -> bool:
    return CREDIBLE_BYTES[0] <= context <= CREDIBLE_BYTES[1]


def _keep(card: Card, workspace: Workspace, found: dict[str, int], conditions: dict[str, str | None]) -> None:
    row = Run(
        id=new_id(),
        taken_at=now(),
        tool="estimate_memory",
        label=LABEL,
        outcome="finished",
        device=card.name,
        workload="",
        conditions=conditions,
        figures=[Figure(metric=name, value=value, unit="bytes") for name, value in found.items()],
    )
    with closing(open_ledger(ledger_path(workspace))) as ledger:
        append(ledger, row)


def _rows(card: Card, workspace: Workspace) -> list[Run]:
    """What was seen of this card, the latest first."""
    path = workspace.root / ARTIFACT_FOLDER / "ledger.sqlite"
    if workspace.refusal or not path.exists():
        return []
    with closing(open_ledger(path)) as ledger:
        found = ledger.execute(
            "SELECT id FROM run WHERE label = ? OR json_extract(report, '$.peak_gpu_device_bytes') > 0"
            " ORDER BY rowid DESC LIMIT ?",
            (LABEL, _LATEST),
        ).fetchall()
        rows = [read_run(ledger, one) for (one,) in found]
    return [row for row in rows if _is_of(row, card)]


def _is_of(row: Run, card: Card) -> bool:
    """Whether a row is of this card alone; measure_run writes the driver's name of it, behind the processor's."""
    name = row.device.rpartition("; ")[2]
    return card.name == name or card.name in {gpu.name for gpu in candidates(name)}


def _read(row: Run) -> Overheads | None:
    """What a row says of its card; None where its figures cannot be of one process."""
    if row.label == LABEL:
        figures = {figure.metric: int(figure.value) for figure in row.figures}
        context, source = figures["context_bytes"], f"{row.conditions['seen']} ({row.id})"
        least = figures.get("least_context_bytes", min(context, CONTEXT_LOW_BYTES))
        return Overheads(context, least, figures.get("cublas_bytes"), source)
    device, reserved = (row.report.get(f"peak_gpu_{name}_bytes") or 0 for name in ("device", "reserved"))
    if not reserved or not _credible(device - reserved):
        return None
    context = device - reserved
    return Overheads(context, min(context, CONTEXT_LOW_BYTES), None, f"a measured run ({row.id})")

"""The order of events of one call."""

from pathlib import Path
from typing import Any

from .._compression.edge import EdgeFiles, make_edge_files
from .._compression.finish import decide, report_fields
from .._compression.limits import Limits
from .._compression.plan import make_plan
from .._compression.processor import find_target
from .._compression.profiles import Profile, find_profile
from .._compression.search import run_search
from .._compression.session import open_session
from .._compression.table import summarise
from .._core.contract import ToolError

MOST_SECONDS = 24 * 3600
RUNTIMES = ("onnxruntime", "openvino", "torch")


def quantize(request: Any) -> dict[str, Any]:
    """The fields of the Report."""
    if unknown := set(request.runtimes) - set(RUNTIMES):
        raise ToolError("Unknown runtime", saw=", ".join(sorted(unknown)), try_next=", ".join(RUNTIMES))
    if not 0 < request.max_search_seconds <= MOST_SECONDS:
        raise ToolError("max_search_seconds is out of range", saw=request.max_search_seconds, try_next="120")
    profile = find_profile(request.device_profile)
    target, elsewhere = find_target(request.target_isa, profile)
    limits = _limits(request, profile)
    with open_session(
        request, max_seconds=request.max_search_seconds, trust=request.trust, salt=target
    ) as session:
        search = session.search
        plan = make_plan(
            search.facts["graph"], target, search.python, request.runtimes, bool(session.found.program)
        )
        if search.make_room(limits):
            plan.smaller_first()
        run_search(search, plan)
        outcome, baseline = decide(session, limits)
        keep = "fp32" if baseline["runtime"] == "onnxruntime" else "the model as it is"
        verdict = summarise(search, outcome, baseline["metric"], keep=keep)
        if elsewhere:
            verdict += f" Measured on this processor; for {target.isa} that is an assumption."
        edge = make_edge_files(session, outcome) if profile and elsewhere else EdgeFiles()
        fields = report_fields(
            session, outcome, baseline, target, kind="quantize", assumed=elsewhere, verdict=verdict,
            warnings=_warnings(elsewhere, target.isa, profile), extra={}, beside=edge.artifacts,
        )  # fmt: skip
    paths = {
        name.removeprefix("edge_"): str(Path(fields["folder"]) / name / Path(artifact["path"]).name)
        for name, artifact in edge.artifacts.items()
    }
    outcome_name = "quantized" if outcome.overall else "keep_fp32"
    return {**fields, "outcome": outcome_name, "edge_files": paths, "edge_missing": edge.missing}


def _limits(request: Any, profile: Profile | None) -> Limits:
    """The caller's own limits; a profile fills in the memory of one process."""
    for name in ("max_latency_seconds", "max_size_bytes", "max_memory_bytes"):
        if (value := getattr(request, name)) is not None and not value > 0:
            raise ToolError(f"{name} is no limit", saw=value, try_next="a number above 0, or leave it out")
    memory = request.max_memory_bytes or (profile.process_bytes if profile else None)
    return Limits(request.max_latency_seconds, request.max_size_bytes, memory)


def _warnings(elsewhere: bool, isa: str, profile: Profile | None) -> list[str]:
    found = []
    if elsewhere:
        found.append(
            f"Measured here, meant for {isa}: speed and int8 accuracy are assumed there; run again on the target"
        )
    if profile:
        found.append(
            f"{profile.name}: memory limit {profile.process_bytes} bytes is assumed ({profile.source}); "
            "latency there is unknown"
        )
    return found

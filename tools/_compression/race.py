"""The finalists against the baseline and its own copy, until one of them is confirmed or the time is over."""

import time

from .._core.contract import ToolError, current_call
from .job import is_too_slow
from .limits import Limits
from .pace import WINDOW_SECONDS
from .search import Row, Search, score
from .shortlist import NARROWEST_TIE_BAND, finalists, overall_ratio

MOST_RACES = 3
RACE_SECONDS = 120.0
RACE_SHARE = 0.9  # of the time that is left; the rest is for the files
RACE_STEP = 1000  # progress only grows: a race comes after whatever was counted before it


def run_races(search: Search, limits: Limits, twins: set[str]) -> Row:
    """The figures of everything that was raced, the baseline's and its copy's first of all.

    Ends once one finalist is confirmed that keeps the limits and that no better twin could beat. A finalist that the
    time is too short for is marked `unraced`.
    """
    allowed = search.metric.allowed(search.facts["metric"]["confirmation"])
    raced: Row = {}
    tried: set[str] = set()
    needed = _baseline_breaks(search, raced, limits)
    for _ in range(MOST_RACES):
        wanted = finalists(search.rows, search.batch_sizes, allowed, limits, tried, needed=needed)
        names = search.pace.field(wanted, search.rows, RACE_SHARE * min(RACE_SECONDS, search.job.left()))
        _leave_out(search, wanted[len(names) :])
        if not names:
            break
        tried |= set(names)
        raced.update(_race_apart(search, names))
        needed = _baseline_breaks(search, raced, limits)
        done = {n: {**search.rows[n], **raced[n]} for n in names if n in raced and n not in twins}
        if any(_settles(row, allowed, limits, search.batch_sizes[0], needed) for row in done.values()):
            break
    return raced or _baseline_alone(search)


def _race_apart(search: Search, names: list[str]) -> Row:
    """One race of all; where one of them takes it down, each alone, so that only that one is lost."""
    try:
        return race(search, names)
    except ToolError as error:
        if is_too_slow(error):
            _leave_out(search, names)
            return {}
        if len(names) == 1:
            search.rows[names[0]].update(status="crashed", reason=f"in the race: {error}"[:240])
            return {}
    found: Row = {}
    for name in names:
        found.update(_race_apart(search, [name]))
    return found


def _leave_out(search: Search, names: list[str]) -> None:
    for name in names:
        search.rows[name]["unraced"] = True


def _baseline_breaks(search: Search, raced: Row, limits: Limits) -> bool:
    """Whether a limit is broken by the baseline, as far as is known."""
    facts = search.facts
    timed: Row = raced.get("baseline") or facts["first_look"]
    row = {**{name: facts[name] for name in ("size_bytes", "peak_rss_bytes")}, **timed}
    return bool(limits.broken_by(row, search.batch_sizes[0]))


def _settles(row: Row, allowed: float, limits: Limits, smallest: int, needed: bool) -> bool:
    """Confirmed; with a latency to keep, also keeping it and gaining speed: less harm was raced before more speed."""
    if not row.get("finite") or row.get("drop_bound", allowed + 1) > allowed:
        return False
    if not limits.least_harm_counts:
        return True
    return not limits.broken_by(row, smallest) and (needed or overall_ratio(row) > 1 + NARROWEST_TIE_BAND)


def _baseline_alone(search: Search) -> Row:
    """The baseline beside its own copy; its figures from before the search where the time is over."""
    if search.pace.race_seconds([]) < RACE_SHARE * search.job.left():
        try:
            return race(search, [])
        except ToolError:
            pass  # the first look stands
    first = search.facts["first_look"]
    return {
        "baseline": {"latency_seconds": first["latency_seconds"]},
        "control": {"ratio": first["ratio"], "clock": first["clock"]},
    }


def race(search: Search, names: list[str]) -> Row:
    """One window of all, with the confirmation rows' metric of as many as the time allows, in their order."""
    current_call().progress(RACE_STEP, None, "race of " + (", ".join(names) or "the baseline"))
    artifacts = {name: search.rows[name]["artifact"] for name in names}
    left = min(RACE_SECONDS, search.job.left())
    reply = search.job.do(
        "race", search.python, seconds=RACE_SECONDS, finalists=artifacts, seconds_per_batch=WINDOW_SECONDS,
        ends_at=time.time() + RACE_SHARE * left, **search.request(),
    )  # fmt: skip
    for name in names:
        if reply[name].get("finite") and "drop" not in reply[name]:
            try:
                reply[name].update(score(search, reply[name], "confirmation"))
            except ToolError as error:
                if not is_too_slow(error):
                    raise
                break
    return reply

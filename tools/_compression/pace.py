"""How long the next step of a search will take, judged by what the baseline took on this machine.

A busy machine, or a large model, makes every process, call and row slower alike; fixed numbers of seconds do not.
"""

from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]

WINDOW_SECONDS = 2.0  # of a race per batch size, all finalists together
RACE_RESERVE_SECONDS = 15.0  # kept of the search time for the race and the bundle
RESERVE_SHARE, MOST_RESERVE_SHARE = 0.2, 0.4
FIELD = 3  # finalists whose race is kept time for
CALLS = 5  # per runner and batch size at least: warm-up, calibration of the block, one round
# A floor for build and measurement: imports, and for torch a compiler run.
_FLOOR_SECONDS = {"torch": 25.0, "nncf": 8.0, "nncf_weights": 8.0, "nncf_control": 15.0}


@dataclass(frozen=True)
class Pace:
    """What the baseline took, in seconds of wall time."""

    task_seconds: float  # one process: imports, loading, a short timing, the search rows
    confirmation_seconds: float  # the confirmation rows
    call_seconds: dict[str, float]  # one call, by batch size
    score_seconds: float = 0.0  # a bound of the caller's own metric, in a process of its own

    def variant_seconds(self, kind: str, first: bool = False) -> float:
        """The least that building and measuring a variant takes: two processes. The first one is given a chance."""
        return max(_FLOOR_SECONDS.get(kind, 4.0), 0.0 if first else 2 * self.task_seconds)

    def reserve_seconds(self, max_seconds: float) -> float:
        """What a search keeps for its race."""
        least = min(RACE_RESERVE_SECONDS, RESERVE_SHARE * max_seconds)
        expected = self.race_seconds([dict.fromkeys(self.call_seconds, 1.0)] * FIELD)
        return max(least, min(expected, MOST_RESERVE_SHARE * max_seconds))

    def race_seconds(self, ratios: list[dict[str, float]]) -> float:
        """The least that a race of finalists with these speed ratios takes, one window and the confirmation rows."""
        calls = sum(
            self._calls_seconds(ratio) for ratio in [*ratios, *[dict.fromkeys(self.call_seconds, 1.0)] * 2]
        )
        confirmation = sum(
            self.confirmation_seconds / max(ratio.values()) + self.score_seconds for ratio in ratios
        )
        return self.task_seconds + max(calls, WINDOW_SECONDS * len(self.call_seconds)) + confirmation

    def _calls_seconds(self, ratio: dict[str, float]) -> float:
        return sum(CALLS * seconds / ratio[batch] for batch, seconds in self.call_seconds.items())

    def field(self, names: list[str], rows: dict[str, Row], left: float) -> list[str]:
        """As many of the finalists, the most promising first, as can be raced in the time that is left."""
        while names and self.race_seconds([rows[name]["ratio"] for name in names]) > left:
            names = names[:-1]
        return names

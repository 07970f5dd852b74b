"""Which ideas of concepts.txt, standing together, speak for which constraint: the table rules.txt."""

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Rule:
    """`needed` ideas stand together in a sentence (or, with scope "text", anywhere); `excluded` ones must not."""

    constraint: str
    sub_cause: str | None
    points: float
    scope: str
    needed: frozenset[str]
    excluded: frozenset[str]
    shows: str

    @classmethod
    def read(cls, line: str) -> "Rule":
        """The rule that a line of the table holds."""
        verdict, points, scope, ideas, shows = (cell.strip() for cell in line.split("|"))
        constraint, _, cause = verdict.partition("/")
        needed = frozenset(idea for idea in ideas.split() if not idea.startswith("!"))
        excluded = frozenset(idea[1:] for idea in ideas.split() if idea.startswith("!"))
        return cls(constraint, cause or None, float(points), scope, needed, excluded, shows)


def _table() -> tuple[Rule, ...]:
    text = (files(__package__) / "rules.txt").read_text(encoding="utf-8")
    return tuple(Rule.read(line) for line in text.splitlines() if line and not line.startswith("#"))


RULES = _table()

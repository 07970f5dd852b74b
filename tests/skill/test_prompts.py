"""The prompts that should and should not trigger the skill: well formed, balanced, and triaged as they say."""

import json
from pathlib import Path
from typing import get_args

from optimizing_resources.server.skill import front_matter
from optimizing_resources.tools import load_tools
from optimizing_resources.tools.triage_constraint import (
    Constraint,
    TriageConstraintRequest,
    triage_constraint,
)

HERE = Path(__file__).parent
ROWS = [json.loads(line) for line in (HERE / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
NOT_OURS = {"out_of_scope", "not_a_resource_problem"}


def test_half_of_the_prompts_are_near_misses_and_every_constraint_is_asked_for():
    yes = [row for row in ROWS if row["trigger"]]
    assert len(ROWS) >= 30 and 2 * len(yes) == len(ROWS) == len({row["prompt"] for row in ROWS})
    assert {row["constraint"] for row in yes} == set(get_args(Constraint)) - NOT_OURS
    assert all(row["first_tool"] in load_tools() for row in yes)


def test_the_near_misses_that_are_other_skills_are_named_in_the_description():
    description = front_matter((HERE.parents[1] / "SKILL.md").read_text(encoding="utf-8"))["description"]
    skills = {row["belongs_to"] for row in ROWS if not row["trigger"] and " " not in row["belongs_to"]}
    others = {skill for skill in skills if "-" in skill}
    assert len(others) == 3 and all(skill in description for skill in others)


def test_triage_says_of_each_prompt_what_the_file_says():
    said = {
        row["prompt"]: triage_constraint(TriageConstraintRequest(text=row["prompt"])).constraint
        for row in ROWS
    }
    for row in ROWS:
        wanted = (
            {row.get("triage_says") or row.get("constraint")}
            if row["trigger"] or "triage_says" in row
            else NOT_OURS
        )
        assert said[row["prompt"]] in wanted, row

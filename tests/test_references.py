"""The reference pages: one entry for each remedy and each cause, short, and every link leads somewhere."""

import re
from pathlib import Path

import pytest
from optimizing_resources.tools._remedies import REMEDIES
from optimizing_resources.tools.triage_constraint.messages import MESSAGES
from optimizing_resources.tools.triage_constraint.rules import RULES

ROOT = Path(__file__).resolve().parents[1]
REFERENCES = sorted((ROOT / "references").glob("*.md"))
PAGES = [ROOT / "SKILL.md", ROOT / "README.md", *REFERENCES]


def by_name(page: Path) -> str:
    return page.name


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """The addresses of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def relative_links(text: str) -> list[str]:
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def test_every_remedy_has_its_entry_in_the_order_of_the_table():
    headings = re.findall(r"^## (\S+)$", read(ROOT / "references/remedies.md"), re.MULTILINE)
    assert headings == [remedy.id for remedy in REMEDIES]


def test_no_entry_of_a_remedy_is_empty():
    entries = re.split(r"^## \S+$", read(ROOT / "references/remedies.md"), flags=re.MULTILINE)[1:]
    assert min(len(entry.split()) for entry in entries) > 20


def test_every_cause_that_a_message_or_a_sentence_can_name_is_explained():
    rows = re.findall(r"^\| (\w+) \| ([\w, ]+) \|", read(ROOT / "references/triage.md"), re.MULTILINE)
    explained = {(constraint, cause) for constraint, causes in rows for cause in causes.split(", ")}
    named = {(found.constraint, found.sub_cause) for found in (*MESSAGES, *RULES) if found.sub_cause}
    assert not named - explained


@pytest.mark.parametrize("page", REFERENCES, ids=by_name)
def test_a_reference_page_is_short_enough_to_be_read_whole(page):
    assert len(read(page).splitlines()) < 200


@pytest.mark.parametrize("page", REFERENCES, ids=by_name)
def test_the_skill_says_when_to_open_each_reference_page(page):
    assert f"](references/{page.name})" in read(ROOT / "SKILL.md").split("## References")[1]


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for link in relative_links(read(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(read(target))):
            broken.append(link)
    assert not broken

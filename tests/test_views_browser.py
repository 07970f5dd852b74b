"""The pages in a real browser: drawn in both themes and widths, read, clicked, reached by keyboard, and hosted."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
from optimizing_resources.server.views import SHOWN, app_page, written_page
from optimizing_resources.tools import load_tools
from pydantic import ValidationError

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = sorted((ROOT / "tests/samples/views").glob("*.json"))
SPEC = importlib.util.spec_from_file_location("browser", ROOT / "tests/browser.py")
DRIVER = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(DRIVER)
FOUND = DRIVER.find_browser() if sys.platform != "win32" else None

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not FOUND, reason="no Chromium: apt install chromium, or name one in OPTIMIZING_RESOURCES_BROWSER"
    ),
]

HOST = (ROOT / "tests/pages/host.html").read_text(encoding="utf-8")
FAINT = (ROOT / "tests/pages/contrast.js").read_text(encoding="utf-8")
UNNAMED = """[...document.querySelectorAll("[role=img], button, input, [role=region], summary")].filter(
  (one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.[0]?.textContent)).length"""
EMPTY_CANVAS = """[...document.querySelectorAll("canvas")].filter((one) =>
  !one.getContext("2d").getImageData(0, 0, one.width, one.height).data.some(Boolean)).length"""
BARE_FIGURES = "[...document.querySelectorAll('figure')].filter((one) => !one.querySelector('table')).length"
REACHED = """[...document.querySelectorAll('summary, button, [tabindex="0"], fieldset')].filter(
  (one) => one.checkVisibility()).length"""
OUTLINE = """(() => { const at = document.activeElement;
  return at === document.body ? "" : getComputedStyle(at.closest("label") || at).outlineStyle; })()"""
INTRUDER = """document.querySelector("main").append(
  Object.assign(document.createElement("script"), { textContent: "window.hit = 1" }))"""


@pytest.fixture(scope="module")
def browser():
    opened = DRIVER.Browser(FOUND)
    yield opened
    opened.close()


@pytest.fixture
def show(browser, tmp_path):
    """Open a Report as a written page."""

    def open_page(sample, **how):
        file = tmp_path / "page.html"
        file.write_text(
            written_page(
                sample["tool"], sample.get("arguments", {}), sample["report"], sample.get("beside", {})
            ),
            encoding="utf-8",
        )
        browser.open(file, **how)
        return browser

    return open_page


def sample(name):
    return json.loads((ROOT / f"tests/samples/views/{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [path.stem for path in SAMPLES])
def test_a_view_stands_in_both_themes_and_on_a_phone(show, name):
    for theme in ("light", "dark"):
        page = show(sample(name), theme=theme)
        page.ask("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        assert page.ask(FAINT) == []
        assert page.ask(UNNAMED) == 0 and page.ask(EMPTY_CANVAS) == 0
        assert page.ask("document.querySelectorAll('h1').length") == 1 and page.ask(BARE_FIGURES) == 0
        assert not page.ask("/undefined|NaN|\\[object/.test(document.querySelector('main').innerText)")
        page.size(360, 800)
        page.settle()
        assert page.ask("document.documentElement.scrollWidth") <= 360
        assert page.problems == []


def test_charts_take_on_a_changed_theme(show):
    page = show(sample("estimate_memory"))
    drawn = "document.querySelector('canvas').toDataURL()"
    light = page.ask(drawn)
    page.theme("dark")
    page.settle()
    assert page.ask(drawn) != light and page.problems == []


def test_everything_that_does_something_is_reached_by_keyboard_and_shows_it(show):
    page = show(sample("compare_baselines"))
    wanted = page.ask(REACHED)
    outlines = []
    for _ in range(wanted):
        page.press("Tab")
        outlines.append(page.ask(OUTLINE))
    assert outlines == ["solid"] * wanted
    page.ask("document.querySelector('input[type=radio]').focus()")
    page.press("ArrowRight")
    page.settle()
    assert page.ask("document.querySelector('.plot').ariaLabel").startswith("shop-1")
    assert page.problems == []


def test_markup_in_a_log_is_shown_and_never_run(show):
    triage = sample("triage_constraint")
    attack = "<img src=x onerror='window.hit=1'></script><script>window.hit=1</script>"
    triage["report"]["evidence"][0] |= {"quote": attack, "source": attack}
    triage["report"]["plan"][0]["arguments"]["path"] = attack
    page = show(triage)
    assert page.ask("document.querySelector('blockquote p').textContent") == attack
    assert page.ask("window.hit === undefined && !document.querySelector('main img, main script')")
    page.ask(INTRUDER)
    assert page.ask("window.hit === undefined") and "Content Security Policy" in "".join(page.problems)


def test_a_plan_gives_the_command_to_copy(show):
    page = show(sample("triage_constraint"))
    page.ask("document.querySelector('.steps .act > summary').focus()")
    page.press("Enter")
    shown = page.ask("document.querySelector('.steps .act[open] code').textContent")
    step = sample("triage_constraint")["report"]["plan"][0]
    assert (
        shown
        == f"optimizing-resources call {step['tool']} '{json.dumps(step['arguments'], separators=(',', ':'))}'"
    )


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_a_ledger_of_any_length_is_shown(show, rows):
    row = sample("ledger")["report"]["rows"][0] | {"label": "a very long label without any break " * 5}
    page = show({"tool": "ledger", "report": {"rows": [row] * rows, "written": None}})
    assert page.ask("document.querySelectorAll('tbody tr').length") == min(rows, 10)
    if rows > 10:
        page.ask("document.querySelector('button').click()")
        assert page.ask("document.querySelectorAll('tbody tr').length") == rows
        assert page.ask("document.activeElement.tagName") == "TH"
    assert page.problems == []


def test_a_report_without_a_view_is_shown_as_it_is(show):
    page = show(
        {
            "tool": "doctor",
            "report": {"ok": True, "parts": [{"name": "<b>torch</b>", "version": None}], "none": []},
        }
    )
    assert "<b>torch</b>" in page.ask("document.querySelector('main').innerText") and page.problems == []


@pytest.fixture
def hosted(browser, tmp_path):
    """A host as the specification describes it, with a tool's page in its frame; it records what the page says."""

    def start(capabilities, name="triage_constraint", *, fails=False):
        names = {
            "CAPABILITIES": capabilities,
            "SAMPLE": sample(name),
            "PATCH": sample("apply_amp_patch"),
            "FAILS": fails,
            "PAGE": app_page(name),
        }
        values = "".join(
            f"const {name} = {json.dumps(value)};".replace("</", "<\\/") for name, value in names.items()
        )
        file = tmp_path / "host.html"
        file.write_text(HOST.replace("/* values */", values), encoding="utf-8")
        browser.open(file)
        browser.until(
            "heard.some((one) => one.method === 'ui/notifications/size-changed' && one.params.height > 300)"
        )
        browser.said = lambda method: browser.ask(
            f"heard.filter((one) => one.method === {json.dumps(method)}).map((one) => one.params)"
        )
        return browser

    return start


def inside(browser, expression):
    """The value of an expression in the frame of the page, which its host cannot look into."""
    tree = browser.send("Page.getFrameTree")["frameTree"]["childFrames"][0]["frame"]["id"]
    world = browser.send("Page.createIsolatedWorld", frameId=tree)["executionContextId"]
    reply = browser.send(
        "Runtime.evaluate", expression=expression, contextId=world, returnByValue=True, awaitPromise=True
    )
    assert "exceptionDetails" not in reply, reply
    return reply["result"].get("value")


def settled(browser, condition):
    for _ in range(200):
        if inside(browser, condition):
            return
        browser.settle()
    raise AssertionError(condition)


def test_a_host_shows_the_result_in_its_theme_and_passes_the_next_call_on(hosted):
    page = hosted({"serverTools": {}, "updateModelContext": {}})
    assert page.said("ui/initialize")[0]["appInfo"]["name"] == "optimizing-resources"
    assert inside(page, "document.querySelector('h1').textContent") == "GPU memory"
    assert inside(page, "getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    inside(page, "document.querySelector('.steps button').click()")
    settled(page, "document.querySelectorAll('main > .report').length === 2")
    step = sample("triage_constraint")["report"]["plan"][0]
    assert page.said("tools/call") == [{"name": step["tool"], "arguments": step["arguments"]}]
    assert "brief" in page.said("ui/update-model-context")[0]["content"][0]["text"]
    assert inside(page, "document.activeElement.textContent").startswith("Patched")
    write = "[...document.querySelectorAll('button.main')].at(-1)"
    inside(page, f"{write}.click()")
    assert inside(page, f"{write}.textContent").startswith("Sure?") and len(page.said("tools/call")) == 1
    inside(page, f"{write}.click()")
    settled(page, "document.querySelectorAll('main > .report').length === 3")
    assert page.said("tools/call")[1]["arguments"]["write"] is True
    page.ask("reply({ method: 'ui/notifications/host-context-changed', params: { theme: 'light' } })")
    settled(page, "getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'")
    page.ask("reply({ id: 'bye', method: 'ui/resource-teardown', params: {} })")
    page.until("heard.some((one) => one.id === 'bye' && one.result)")
    assert page.problems == []


def test_what_a_call_still_needs_is_asked_for_in_the_conversation(hosted):
    page = hosted({"serverTools": {}, "message": {}})
    inside(
        page,
        "[...document.querySelectorAll('button')].find((one) => one.textContent.startsWith('Ask for')).click()",
    )
    page.until("heard.some((one) => one.method === 'ui/message')")
    text = page.said("ui/message")[0]["content"][0]["text"]
    assert "measure_run" in text and "first supply command" in text and page.said("tools/call") == []


def test_a_call_that_the_host_refuses_leaves_the_command(hosted):
    page = hosted({"serverTools": {}}, fails=True)
    inside(page, "document.querySelector('.steps button').click()")
    settled(page, "document.querySelector('[role=alert]')?.textContent === 'the user said no'")
    assert inside(page, "document.querySelector('[role=alert] + .command code').textContent").startswith(
        "optimizing-resources call apply_amp_patch"
    )


def test_a_host_without_calls_and_messages_gets_commands(hosted):
    page = hosted({})
    assert inside(page, "document.querySelectorAll('.steps .act').length") and not inside(
        page, "document.querySelector('button.main')"
    )


def with_gaps(name):
    """The sample's Report with one field emptied or left null, wherever the tool's Report allows for it."""
    report = sample(name)["report"]
    model = load_tools()[name].report
    for field, value in report.items():
        for gap in ([], {}, None):
            try:
                changed = model.model_validate({**report, field: gap}).model_dump(mode="json")
            except ValidationError:
                continue
            if gap is None or (
                type(gap) is type(value) and changed[field] != {}
            ):  # {} where its parts have defaults
                yield field, changed


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_a_report_with_gaps_is_shown(hosted, name):
    page = hosted({"serverTools": {}}, name)
    for field, report in with_gaps(name):
        result = json.dumps({"content": [], "structuredContent": report})
        page.ask(f"reply({{ method: 'ui/notifications/tool-result', params: {result} }})")
        page.ask("new Promise((done) => setTimeout(done, 5))")
        assert inside(page, "document.querySelectorAll('h1').length") == 1
        assert not inside(page, "/undefined|NaN|\\[object/.test(document.querySelector('main').innerText)"), (
            field
        )
        assert page.problems == [], field


def test_a_refusal_is_shown_in_its_own_words(hosted):
    page = hosted({})
    refusal = "{ isError: true, content: [{ type: 'text', text: 'No such file: <b>x</b>' }] }"
    page.ask(f"reply({{ method: 'ui/notifications/tool-result', params: {refusal} }})")
    settled(page, "document.querySelector('[role=alert]')?.textContent === 'No such file: <b>x</b>'")
    page.ask("reply({ method: 'ui/notifications/tool-cancelled', params: { reason: 'timeout' } })")
    settled(page, "document.querySelector('main').innerText.includes('cancelled: timeout')")
    assert page.problems == [], "a refusal is text, never markup"


def test_a_page_that_nobody_fills_says_what_would(browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(app_page("triage_constraint"), encoding="utf-8")
    browser.open(file)
    assert "--html FILE" in browser.ask("document.querySelector('main').innerText") and browser.problems == []


def test_figures_that_hardly_differ_do_not_look_apart(show):
    review = sample("review_evidence")
    review["report"]["impact"] = []
    review["report"]["quality"][0] |= {"ratio": 1.0000001, "low_ratio": 1.0, "high_ratio": 1.0000002}
    page = show(review)
    left = "document.querySelector('.range {}').getBoundingClientRect().left"
    assert abs(page.ask(f"{left.format('.mark')} - {left.format('.dot')}")) < 8
    ledger = sample("ledger")
    for run, loss in zip(ledger["beside"]["runs"], (0.5, 0.5000001), strict=True):
        run["figures"] = [{"metric": "final_loss", "value": loss, "unit": "1", "repeats": 1}]
    dots = "[...document.querySelectorAll('.dot')].map((one) => one.getBoundingClientRect().left)"
    first, second = show(ledger).ask(dots)
    assert abs(first - second) < 1

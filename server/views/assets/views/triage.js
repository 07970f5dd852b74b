// triage_constraint: what binds, how that is known, and the plan whose steps can be called.
VIEWS.triage_constraint = (report) => {
  const binds = !["out_of_scope", "not_a_resource_problem"].includes(report.constraint);
  const cause = report.sub_cause
    ? `${binds ? "Cause" : "Kind"}: ${plain(report.sub_cause)}.`
    : "The evidence does not decide on a cause.";
  return [
    heading(
      binds ? "Binding constraint" : "No constraint of a machine",
      sentence(plain(report.constraint)),
      cause,
      tag(`${percent(report.confidence)} of the evidence speaks for it`, report.confidence >= 0.75 ? "good" : "fair"),
      report.secondary.map((name) => tag(`also: ${plain(name)}`)),
    ),
    report.handoff &&
      h("div", { class_: "callout" }, h("h3", {}, "Where this question belongs"), h("p", {}, report.handoff)),
    section(
      "Evidence",
      null,
      report.evidence.length ? report.evidence.map(quote) : empty("Nothing is quoted: see the notes."),
    ),
    printedNumbers(report.numbers),
    report.decisive_check &&
      h("div", { class_: "callout" }, h("h3", {}, "The look that would decide"), h("p", {}, report.decisive_check)),
    report.baseline.length > 0 &&
      section(
        "Measure first",
        "before anything is changed",
        h("div", { class_: "cards" }, report.baseline.map(callCard)),
      ),
    report.plan.length > 0 &&
      section("Plan", "in this order, one at a time", h("ol", { class_: "steps" }, report.plan.map(stepCard))),
    !report.plan.length && !report.handoff && section("Plan", null, empty("No remedy of ours applies.")),
    report.fallback.length > 0 &&
      section(
        "If these are not enough",
        null,
        h(
          "div",
          { class_: "row" },
          report.fallback.map((name) => tag(plain(name))),
        ),
      ),
    notes("Notes", report.notes),
    more("What else was considered", list(report.rejected.map(plain))),
  ];
};

const quote = (one) =>
  h(
    "blockquote",
    {},
    h("p", {}, one.quote),
    h(
      "cite",
      { class_: "small quiet" },
      [one.source, known(one.line) && `line ${one.line}`, one.shows].filter(Boolean).join(" \u00b7 "),
    ),
  );

function printedNumbers(numbers) {
  const items = Object.entries(numbers)
    .filter(([, value]) => known(value))
    .map(([key, value]) => named(key, value));
  return items.length ? section("Numbers", "as the text prints them", figures(items)) : null;
}

const callCard = (call) =>
  h(
    "div",
    { class_: "card" },
    h("h3", {}, plain(call.tool)),
    pairs(
      Object.entries(call.arguments).map(([key, value]) => [
        plain(key),
        typeof value === "string" ? value : JSON.stringify(value),
      ]),
    ),
    action(call),
  );

const stepCard = (step) =>
  h(
    "li",
    { class_: "card" },
    h(
      "div",
      { class_: "row apart" },
      h("h3", {}, sentence(plain(step.remedy))),
      step.changes_results ? tag("changes results", "fair") : tag("same results"),
    ),
    h("p", {}, sentence(step.why)),
    expected(step.expected_effect),
    pairs([
      ["Costs", step.cost],
      ["Shown by", step.verify],
    ]),
    step.tool ? action(step) : h("p", { class_: "small quiet" }, "No tool does this; see references/remedies.md."),
  );

// How far the quantity may fall, with today at the right end.
function expected(effect) {
  const { low_ratio: low, high_ratio: high } = effect;
  const text = known(low) ? `${ratio(low)} to ${ratio(high)} of today` : "not known in advance";
  const end = Math.max(1, high || 1);
  return h(
    "div",
    { style: { display: "grid", gap: "6px" } },
    h(
      "div",
      { class_: "row apart small" },
      h("span", {}, sentence(effect.quantity), ": ", text),
      basisMark(effect.basis),
    ),
    known(low) &&
      h(
        "div",
        { class_: "meter", role: "img", "aria-label": `${effect.quantity}: ${text}` },
        h("i", { style: { width: `${(100 * high) / end}%`, opacity: "0.35" } }),
        h("i", { style: { width: `${(100 * low) / end}%` } }),
      ),
    effect.note && h("p", { class_: "small quiet" }, sentence(effect.note)),
  );
}

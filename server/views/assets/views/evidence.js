// review_evidence and ledger: before and after, from the ledger.
const VERDICTS = { better: "good", worse: "poor", "no difference": "", "cannot tell": "fair" };
const BARS = { better: "good", worse: "poor" };

VIEWS.review_evidence = (report, { beside }) => {
  const { runs = [] } = beside;
  const side = (ids) => runs.filter((run) => ids.includes(run.id));
  return [
    heading(
      "Before and after",
      signed(VERDICTS[report.verdict], sentence(report.verdict)),
      `${sentence(worded(report.reason))}.`,
      tag(`${report.before.join(", ")} \u2192 ${report.after.join(", ")}`),
    ),
    notes("Why these runs do not compare", report.refusals),
    comparisons("Impact", report.impact),
    comparisons("Quality", report.quality),
    losses([
      ["before", side(report.before)[0]],
      ["after", side(report.after)[0]],
    ]),
    section(
      "Checklist",
      null,
      h("ul", { class_: "cards two", style: { "list-style": "none", padding: "0" } }, report.boxes.map(boxCard)),
    ),
    notes("What differs as well", report.differences),
  ];
};

const boxCard = (box) =>
  h(
    "li",
    { class_: "card" },
    h(
      "div",
      { class_: "row apart" },
      h("h3", {}, sentence(plain(box.box))),
      box.ticked ? tag("shown", "good") : tag("missing", "fair"),
    ),
    h("p", { class_: "small" }, sentence(worded(box.ticked ? box.evidence : box.missing))),
  );

function comparisons(title, items) {
  if (!items.length) return null;
  const rows = items
    .filter((one) => known(one.ratio))
    .map((one) => ({
      name: sentence(metricName(one.metric)),
      value: one.ratio,
      low: one.low_ratio,
      high: one.high_ratio,
      kind: BARS[one.verdict] || "none",
    }));
  const text = (row) =>
    known(row.low) ? `${ratio(row.value)} (${number(row.low, 3)} to ${number(row.high, 3)})` : ratio(row.value);
  return section(
    title,
    "after divided by before, with the 95 % interval; the dashed line is no change",
    rows.length > 0 && ranges(`${title}: ratios`, rows, { mark: 1, least: 0.1, text }),
    table(
      title,
      [
        { name: "figure", cell: (one) => sentence(metricName(one.metric)) },
        { name: "before", number: true, cell: (one) => inUnit(one.before, one.unit) },
        { name: "after", number: true, cell: (one) => inUnit(one.after, one.unit) },
        { name: "repeats", number: true, cell: (one) => number(one.repeats) },
        { name: "finding", cell: (one) => tag(one.verdict, VERDICTS[one.verdict]) },
        { name: "how", cell: (one) => [one.how, " ", basisMark(one.basis)] },
      ],
      items,
    ),
  );
}

function losses(all) {
  const sides = all.filter(([, run]) => run && run.loss.length > 1);
  if (!sides.length) return null;
  const steps = [...new Set(sides.flatMap(([, run]) => run.loss.map((_, at) => at * run.loss_every + 1)))].sort(
    (a, b) => a - b,
  );
  const series = sides.map(([name, run]) => ({
    name,
    colour: name === "before" ? "--c5" : "--c1",
    wide: name === "before",
    values: steps.map((step) =>
      (step - 1) % run.loss_every === 0 ? (run.loss[(step - 1) / run.loss_every] ?? null) : null,
    ),
  }));
  return section(
    "Loss by step",
    "measured",
    lines({
      label: `Loss by step: ${sides.map(([name]) => name).join(" and ")}`,
      x: steps,
      xName: "step",
      whole: true,
      yName: "loss",
      series,
    }),
  );
}

VIEWS.ledger = (report, { beside }) => {
  const { runs = [] } = beside;
  const [before, after] = runs.length === 2 ? runs : [];
  const shared = before
    ? before.figures
        .filter((figure) => figure.metric !== "steps")
        .map((figure) => [figure, after.figures.find((other) => other.metric === figure.metric)])
        .filter(([, other]) => other)
    : [];
  return [
    heading(
      "Ledger",
      before ? "Before and after" : count(report.rows.length, "measured run"),
      before && `${nameOf(before)} against ${nameOf(after)}, on ${before.device}.`,
    ),
    before &&
      section(
        "Figures",
        "median of the repeats, with their range",
        shared.length
          ? shared.map(([first, second]) => besideEachOther(first, second))
          : empty("The runs share no figure."),
      ),
    before &&
      losses([
        ["before", before],
        ["after", after],
      ]),
    section(
      "Runs",
      null,
      report.rows.length ? runTable(report.rows) : empty("Nothing was measured here yet; measure_run begins."),
    ),
    report.written && h("p", { class_: "small quiet" }, `Written: ${report.written}`),
  ];
};

const nameOf = (run) => (run.label ? `${run.id} (${run.label})` : run.id);

function besideEachOther(first, second) {
  const rows = [
    ["before", first],
    ["after", second],
  ].map(([name, one]) => ({
    name,
    value: one.value,
    low: one.low,
    high: one.high,
    kind: name === "before" ? "none" : "",
    figure: one,
  }));
  return h(
    "div",
    { style: { display: "grid", gap: "6px" } },
    h("h3", {}, sentence(metricName(first.metric))),
    ranges(metricName(first.metric), rows, {
      text: (row) => figureText(row.figure) + (row.figure.repeats > 1 ? ` (${row.figure.repeats} repeats)` : ""),
    }),
  );
}

const figureText = (one) => (one.metric.endsWith("_share") ? percent(one.value, 1) : inUnit(one.value, one.unit));

const runTable = (rows) =>
  table(
    "Runs in the ledger",
    [
      { name: "id", cell: (row) => row.id },
      { name: "taken (UTC)", cell: (row) => row.taken_at.slice(0, 16).replace("T", " ") },
      { name: "label", cell: (row) => row.label || DASH },
      { name: "outcome", cell: (row) => plain(row.outcome) },
      { name: "step, median", number: true, cell: (row) => seconds(row.step_seconds_p50) },
      { name: "host peak", number: true, cell: (row) => bytes(row.peak_rss_bytes) },
      { name: "GPU peak", number: true, cell: (row) => bytes(row.peak_gpu_bytes) },
      { name: "command", wide: true, cell: (row) => h("span", { class_: "mono" }, row.command) },
    ],
    [...rows].reverse(),
  );

// estimate_cost: plans by cost and time, with ranges, and where one becomes cheaper than another.
const PURCHASES = {
  spot: { name: "spot", colour: "--c3" },
  on_demand: { name: "on demand", colour: "--c1" },
  committed: { name: "committed", colour: "--c2" },
  serverless: { name: "serverless", colour: "--c4" },
  other: { name: "other", colour: "--c5" },
};

VIEWS.estimate_cost = (report) => {
  const { plans } = report;
  const best = plans.find((plan) => plan.name === report.decision) || plans[0];
  return [
    heading(
      "What it costs",
      report.decision ? report.decision : "No plan meets the constraints",
      report.decision_why,
      report.decision && best && tag(`${dollars(best.expected_usd)} ${report.period}`, "good"),
      tag(`${count(report.plans_compared, "plan")} compared`),
    ),
    best && planFigures(best),
    warnings(report.warnings),
    plans.length > 0 && planPicture(plans, report.period),
    plans.length > 0 && section("Plans", "cheapest first", planTable(plans, report.decision)),
    report.break_even.length > 0 &&
      section("Break-even", null, h("div", { class_: "cards two" }, report.break_even.map(crossing))),
    report.what_if.length > 0 && section("What if", null, changeTable(report.what_if)),
    report.infeasible.length > 0 &&
      section("What does not do", `${number(report.infeasible_count)} in all`, infeasibleTable(report.infeasible)),
    h(
      "div",
      {},
      more("Assumptions", report.assumptions.length > 0 && list(report.assumptions)),
      more("Where prices are from", pairs(Object.entries(report.sources))),
      more(
        "Files",
        pairs([
          ["All plans", report.plans_path],
          ["SkyPilot task", report.skypilot_yaml_path],
        ]),
      ),
    ),
  ];
};

const kindOf = (plan) => (PURCHASES[plan.purchase] ? plan.purchase : "other");

const UNITS_OF_TIME = [
  ["days", 86400],
  ["hours", 3600],
  ["minutes", 60],
  ["seconds", 1],
];

function planPicture(plans, period) {
  const times = plans.map((plan) => plan.wall_seconds).filter(known);
  const bars = section("Cost", `${period}, expected with the range from low to high`, costRanges(plans));
  if (times.length < 2 || Math.max(...times) < 1.2 * Math.min(...times)) return bars;
  return [
    section(
      "Cost against time",
      "the lower left is better; lines reach from low to high; numbers as below",
      costAgainstTime(plans, period, Math.max(...times)),
    ),
    bars,
  ];
}

const costRanges = (plans) =>
  ranges(
    "Cost of the plans",
    plans.map((plan, at) => ({
      name: `${at + 1}. ${plan.name}`,
      value: plan.expected_usd,
      low: plan.low_usd,
      high: plan.high_usd,
    })),
    { text: (row) => `${dollars(row.value)} (${dollars(row.low)} to ${dollars(row.high)})` },
  );

function costAgainstTime(plans, period, longest) {
  const [unit, size] = UNITS_OF_TIME.find(([, length]) => longest >= 2 * length) || ["seconds", 1];
  const point = (plan, at) => ({
    x: plan.wall_seconds / size,
    y: plan.expected_usd,
    low: plan.low_usd,
    high: plan.high_usd,
    name: plan.name,
    short: `${at + 1}. ${plan.accelerator || plan.purchase}`,
    kind: kindOf(plan),
  });
  const points = plans.map(point).filter((_, at) => known(plans[at].wall_seconds));
  return scatter({
    label: `Cost against wall time of ${count(points.length, "plan")}`,
    points,
    kinds: PURCHASES,
    xName: `wall time, ${unit}`,
    yName: `USD ${period}`,
    xFormat: number,
    yFormat: dollars,
    zeroY: true,
  });
}

const planTable = (plans, decision) =>
  table(
    "Plans",
    [
      {
        name: "plan",
        cell: (plan) => [
          plan.name,
          h(
            "span",
            { class_: "small quiet" },
            [plan.accelerator, plan.machines > 1 && `${plan.machines} machines`, plan.remedy && plain(plan.remedy)]
              .filter(Boolean)
              .join(", "),
          ),
        ],
      },
      {
        name: "expected",
        number: true,
        cell: (plan) => [
          dollars(plan.expected_usd),
          h("span", { class_: "small quiet" }, plan.tie ? "a tie" : plan.basis),
        ],
      },
      { name: "low to high", number: true, cell: (plan) => `${dollars(plan.low_usd)} to ${dollars(plan.high_usd)}` },
      { name: "wall time", number: true, cell: (plan) => seconds(plan.wall_seconds) },
      { name: "interruptions", number: true, cell: (plan) => number(plan.expected_interruptions, 2) },
      {
        name: "price",
        wide: true,
        cell: (plan) =>
          plan.prices.map((price) =>
            h(
              "span",
              { class_: "small" },
              `${plain(price.what)} ${dollars(price.usd)} a ${price.unit}`,
              h("span", { class_: "quiet" }, ` ${[price.source, price.as_of].filter(Boolean).join(", ")}`),
            ),
          ),
      },
      { name: "not included", cell: (plan) => h("span", { class_: "small quiet" }, plan.not_included.join(", ")) },
    ],
    plans,
    (plan) => plan.name === decision,
  );

// Up to the value the first is cheaper, beyond it the second.
function crossing(one) {
  const quantity = plain(one.quantity);
  return h(
    "div",
    { class_: "card" },
    h("h3", {}, `${number(one.value)} ${quantity}`),
    h(
      "div",
      {
        class_: "parts",
        role: "img",
        "aria-label": `Up to ${number(one.value)} ${quantity} ${one.between[0]} is cheaper, beyond it ${one.between[1]}`,
      },
      h("i", { style: { flex: "1", background: "var(--c3)" } }),
      h("i", { style: { flex: "1", background: "var(--c1)" } }),
    ),
    h(
      "div",
      { class_: "row apart small" },
      h("span", {}, swatch("var(--c3)"), `below: ${one.between[0]}`),
      h("span", {}, swatch("var(--c1)"), `above: ${one.between[1]}`),
    ),
    one.note && h("p", { class_: "small quiet" }, sentence(one.note)),
  );
}

const planFigures = (best) =>
  figures([
    {
      label: "Expected",
      value: dollars(best.expected_usd),
      note: `${dollars(best.low_usd)} to ${dollars(best.high_usd)}`,
      basis: best.basis,
    },
    { label: "Wall time", value: seconds(best.wall_seconds), basis: best.time_basis },
    { label: "Interruptions", value: number(best.expected_interruptions, 2) },
    { label: "Saved against on demand", value: best.saving_ratio ? percent(best.saving_ratio) : null },
    { label: "Checkpoint every", value: seconds(best.best_checkpoint_seconds) },
    { label: "A month", value: dollars(best.usd_per_month) },
    { label: "A million", value: dollars(best.usd_per_million) },
    { label: "In time", value: known(best.deadline_probability) ? percent(best.deadline_probability) : null },
  ]);

const changeTable = (changes) =>
  table(
    "Changes of the work",
    [
      { name: "change", cell: (row) => sentence(row.change) },
      { name: "then", number: true, cell: (row) => dollars(row.usd) },
      { name: "saves", number: true, cell: (row) => dollars(row.saves_usd) },
    ],
    changes,
  );

const infeasibleTable = (options) =>
  table(
    "Infeasible",
    [
      { name: "option", cell: (row) => row.name },
      { name: "reason", cell: (row) => tag(row.reason, "fair") },
      { name: "why", wide: true, cell: (row) => row.why },
      {
        name: "misses by",
        number: true,
        cell: (row) => (known(row.misses_by) ? inUnit(row.misses_by, row.unit) : DASH),
      },
    ],
    options,
  );

// quantize_model, prune_model, distill_model: quality against latency.
const LOST = { name: "measured, not chosen", colour: "--c5", hollow: true };
const POINTS = {
  baseline: { name: "baseline", colour: "--c2", size: 11 },
  chosen: { name: "chosen", colour: "--good", size: 13 },
  confirmed: { name: "within the budget", colour: "--c1" },
  control: { name: "control, for comparison", colour: "--c4" },
  lost: LOST,
};
const STATUS = { chosen: "good", confirmed: "", crashed: "poor", failed: "poor", non_finite: "poor" };

function compressed(report, given, kicker) {
  const metric = given.metric || "accuracy";
  const rows = [
    { ...report.baseline, kind: "baseline" },
    ...report.candidates.map((one) => ({ ...one, kind: POINTS[one.status] ? one.status : "lost" })),
    ...(report.control || []).map((one) => ({ ...one, kind: "control" })),
  ];
  const batches = Object.keys(report.baseline.latency_seconds || {});
  return [
    heading(
      kicker,
      report.chosen.variant === report.baseline.variant ? "Keep the baseline" : chosenWords(report),
      report.verdict,
      tag(plain(report.outcome)),
      tag(`${metric} on ${count(report.rows.confirmation, "row")} held back`),
      tag(`${count(report.conditions.threads, "thread")}, ${report.conditions.isa}`),
    ),
    warnings(report.warnings),
    batches.length > 0 &&
      section(
        `${sentence(shortMetric(metric))} against latency`,
        "measured; a ratio near 1 is a tie",
        choices(
          "Batch size",
          batches.map((batch) => ({ name: `batch ${batch}`, draw: () => pareto(rows, batch, metric) })),
        ),
      ),
    section("Candidates", "drop and its 95 % upper bound on rows held back", candidateTable(rows, batches)),
    report.students &&
      section("What the teacher was worth", `${shortMetric(metric)} by seed`, studentTable(report.students)),
    report.next_step && section("Next", sentence(report.next_step.why), action(report.next_step)),
    h(
      "div",
      {},
      more(
        "Files",
        pairs([
          ["Chosen", report.chosen.path],
          ["Folder", report.folder],
        ]),
      ),
      more(
        "Conditions",
        pairs(Object.entries(report.conditions.versions)),
        pairs(Object.entries(report.rows).map(([name, rows_]) => [`${name} rows`, number(rows_)])),
      ),
    ),
  ];
}

VIEWS.quantize_model = (report, context) => compressed(report, context.arguments, "Quantization");
VIEWS.prune_model = (report, context) => compressed(report, context.arguments, "Pruning");
VIEWS.distill_model = (report, context) => compressed(report, context.arguments, "Distillation");

function chosenWords({ chosen }) {
  const [batch, pick] = Object.entries(chosen.by_batch_size || {})[0] || [];
  return pick ? `${ratio(pick.speed_ratio)} as fast with ${chosen.variant} at batch ${batch}` : `Use ${chosen.variant}`;
}

const shortMetric = (metric) => metric.split(":").at(-1);

function pareto(rows, batch, metric) {
  const points = rows
    .filter((row) => known(row.metric) && row.latency_seconds && known(row.latency_seconds[batch]))
    .map((row) => ({ x: row.latency_seconds[batch], y: row.metric, name: row.variant, kind: row.kind }));
  if (!points.length) return empty("No candidate was measured at this batch size.");
  return scatter({
    label: `${shortMetric(metric)} against median latency at batch ${batch}, ${count(points.length, "point")}`,
    points,
    kinds: POINTS,
    xName: `median latency, batch ${batch}`,
    yName: shortMetric(metric),
    xFormat: seconds,
    yFormat: number,
  });
}

// What a row is for comes before how it fared.
function statusTag(row) {
  const isReference = row.kind === "baseline" || row.kind === "control";
  return isReference ? tag(row.kind) : tag(plain(row.status), STATUS[row.status] || "");
}

function candidateTable(rows, batches) {
  return table(
    "Candidates",
    [
      { name: "variant", cell: (row) => [breakable(row.variant), h("div", {}, statusTag(row))] },
      { name: "metric", number: true, cell: (row) => number(row.metric) },
      {
        name: "drop (bound)",
        number: true,
        cell: (row) =>
          known(row.metric_drop_bound)
            ? `${number(row.metric_drop, 3)} (${number(row.metric_drop_bound, 3)})`
            : number(row.metric_drop, 3),
      },
      ...batches.map((batch) => ({
        name: `batch ${batch}`,
        number: true,
        cell: (row) => [
          seconds(row.latency_seconds?.[batch]),
          known(row.speed_ratio?.[batch]) &&
            h("span", { class_: "small quiet" }, `${ratio(row.speed_ratio[batch])} as fast`),
        ],
      })),
      { name: "size", number: true, cell: (row) => bytes(row.size_bytes) },
      { name: "why", wide: true, cell: (row) => h("span", { class_: "small quiet" }, row.reason) },
    ],
    rows,
    (row) => row.kind === "chosen",
  );
}

const studentTable = (students) =>
  table(
    "Students with and without the teacher",
    [
      { name: "student", cell: (row) => row.student },
      { name: "parameters", number: true, cell: (row) => number(row.parameters) },
      { name: "labels alone", number: true, cell: (row) => row.labels_only.map((value) => number(value)).join(", ") },
      { name: "with teacher", number: true, cell: (row) => row.distilled.map((value) => number(value)).join(", ") },
      { name: "finding", cell: (row) => tag(plain(row.finding), { helped: "good", hurt: "poor" }[row.finding] || "") },
    ],
    students,
  );

// measure_run: one run, or one set of repeats.
const ENDS = {
  finished: "good",
  stopped_at_limit: "good",
  out_of_memory: "poor",
  crashed: "poor",
  never_stepped: "fair",
  timed_out: "fair",
  cancelled: "fair",
};

VIEWS.measure_run = (report) => {
  const steps = report.step_seconds || {};
  const title = known(steps.p50) ? `${seconds(steps.p50)} a step` : sentence(plain(report.outcome));
  return [
    heading(
      report.label ? `Measured run: ${report.label}` : "Measured run",
      title,
      `${report.reason}.`,
      tag(plain(report.outcome), ENDS[report.outcome]),
      report.id && tag(`ledger id ${report.id}`),
      tag("measured"),
    ),
    runFigures(report, steps),
    report.causes.length > 0 &&
      section("Why it is slow or grows", null, h("div", { class_: "cards" }, report.causes.map(causeCard))),
    losses([["loss", report]]),
    report.calls.length > 0 && section("Calls", null, callTable(report.calls)),
    Object.keys(report.metrics).length > 0 && section("Quality", "last values", qualityFigures(report.metrics)),
    report.repeats.length > 1 && section("Repeats", null, repeats(report.repeats)),
    report.against && section("Against the second command", "run in turns", anything(report.against)),
    notes("Notes", report.notes),
    report.id &&
      section(
        "Next",
        null,
        action({ tool: "triage_constraint", arguments: { measurement: report.id } }, "Triage this run"),
      ),
    more(
      "Files",
      pairs([
        ["Output", report.output_path],
        ["Trace", report.trace_path],
        ["Python", report.python],
        ["Probe", report.probe],
      ]),
    ),
  ];
};

const runFigures = (report, steps) =>
  figures([
    { label: "Step, median", value: seconds(steps.p50), note: known(steps.p95) ? `p95 ${seconds(steps.p95)}` : null },
    { label: "Steps", value: number(report.steps), note: report.step_source && `by ${report.step_source}` },
    {
      label: "Samples a second",
      value: number(report.samples_per_second),
      note: known(report.samples_per_step) ? `${number(report.samples_per_step)} a step` : null,
    },
    { label: "Peak host memory", value: bytes(report.peak_rss_bytes) },
    { label: "Peak GPU memory", value: bytes(report.peak_gpu_bytes), note: "allocated by torch" },
    { label: "Waiting for data", value: percent(report.data_wait_share, 1) },
    { label: "CPU cores used", value: number(report.cpu_cores_used, 3) },
    {
      label: "GPU busy",
      value: known(report.gpu_utilization_percent) ? `${number(report.gpu_utilization_percent)} %` : null,
    },
    { label: "Wall time", value: seconds(report.wall_seconds) },
  ]);

const causeCard = (one) =>
  h(
    "div",
    { class_: "card" },
    h(
      "div",
      { class_: "row apart" },
      h("h3", {}, sentence(plain(one.cause))),
      known(one.share) && h("span", { class_: "quiet small" }, `${percent(one.share)} of the step`),
    ),
    h("p", { class_: "small" }, sentence(one.evidence)),
  );

const callTable = (calls) =>
  table(
    "Calls by batch size",
    [
      { name: "batch", cell: (row) => number(row.batch_size) },
      { name: "threads", number: true, cell: (row) => (row.threads ? number(row.threads) : "default") },
      { name: "samples a second", number: true, cell: (row) => number(row.samples_per_second) },
      { name: "median", number: true, cell: (row) => seconds(row.p50_seconds) },
      { name: "p99", number: true, cell: (row) => seconds(row.p99_seconds) },
      { name: "first call", number: true, cell: (row) => seconds(row.first_seconds) },
    ],
    calls,
  );

const repeats = (all) =>
  ranges(
    "Step time of the repeats",
    all.map((one, at) => ({ name: `${at + 1}.`, value: one.step_seconds_p50 ?? one.wall_seconds })),
    { text: (row) => seconds(row.value) },
  );

const qualityFigures = (metrics) =>
  figures(Object.entries(metrics).map(([label, value]) => ({ label, value: number(value) })));

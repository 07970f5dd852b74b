// estimate_memory: the predicted peak, what it is made of, the step as a timeline, and the remedies.
const KINDS = { weights: "--c1", gradients: "--c4", optimizer: "--c3", activations: "--c2", other: "--c5" };
const FITS = { fits: ["fits", "good"], tight: ["tight", "fair"], no: ["does not fit", "poor"] };

VIEWS.estimate_memory = (report, { beside }) => {
  const against = report.capacity_bytes ? ` of ${bytes(report.capacity_bytes)}` : "";
  const title = report.fits
    ? signed(FITS[report.fits][1], `${sentence(FITS[report.fits][0])} on ${report.gpu}`)
    : `Peak of ${bytes(report.peak_allocated_bytes)}`;
  const at = report.peak_at;
  return [
    heading(
      "Memory of one training step",
      title,
      `Predicted peak ${bytes(report.peak_allocated_bytes)}${against}, in ${plain(at.phase)} at ${at.operator}${at.module ? ` (${at.module})` : ""}.`,
      tag("simulated, nothing was run on a GPU"),
    ),
    memoryFigures(report),
    section("What the peak is made of", null, breakdown(report.breakdown)),
    timeline(report, beside.timeline),
    report.recommended && section("Recommended", null, chosenCard(report.recommended)),
    section(
      "Remedies",
      `each simulated; step time from counted work${report.capacity_bytes ? "; the line is what the card holds" : ""}`,
      report.remedies.length ? remedyTable(report) : empty("None was asked for."),
    ),
    h(
      "div",
      {},
      more("Not simulated here", pairs(Object.entries(report.skipped).map(([name, why]) => [plain(name), why]))),
      report.caveats.length > 0 && more("Known to be off in this step", list(report.caveats.map(caveat))),
      more("What the prediction leaves out", list(report.left_out)),
      more(
        "Assumptions",
        list(report.assumptions),
        pairs([
          ["Parameters", `${number(report.parameters)} (${number(report.trainable_parameters)} trained)`],
          ["torch", report.torch_version],
          ["Python", report.python],
        ]),
      ),
    ),
  ];
};

const OFF = { too_low: "may be too low", too_high: "is an upper bound", either: "may be off" };
const caveat = (one) => `The prediction ${OFF[one.direction]}: ${one.operation}: ${one.note}.`;

const fitTag = (fits) => (fits ? tag(...FITS[fits]) : null);
const together = (remedy) => sentence(remedy.ids.map(plain).join(" + "));
const settingsOf = (remedy) =>
  Object.entries(remedy.details)
    .map(([key, value]) => `${plain(key)} ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(", ");

const remedyWords = (remedy) =>
  [
    `Peak ${bytes(remedy.peak_allocated_bytes)}, ${bytes(remedy.saved_bytes)} less; step time ${ratio(remedy.step_cost_ratio)} of today's.`,
    settingsOf(remedy) && `Settings: ${settingsOf(remedy)}.`,
    remedy.changes_results ? "Changes results: compare quality as well." : "Results stay the same.",
  ]
    .filter(Boolean)
    .join(" ");

function remedyTable(report) {
  const longest = Math.max(
    report.peak_allocated_bytes,
    ...report.remedies.map((remedy) => remedy.peak_allocated_bytes),
  );
  const chosen = report.recommended && JSON.stringify(report.recommended.ids);
  return table(
    "Remedies by predicted peak",
    [
      { name: "remedy", cell: (row) => [together(row), h("span", { class_: "small quiet" }, settingsOf(row))] },
      {
        name: "peak",
        wide: true,
        cell: (row) => [
          h("div", { class_: "row apart" }, bytes(row.peak_allocated_bytes), fitTag(row.fits)),
          meter(
            row.peak_allocated_bytes / longest,
            `peak ${bytes(row.peak_allocated_bytes)}`,
            report.capacity_bytes && report.capacity_bytes < longest ? report.capacity_bytes / longest : null,
          ),
        ],
      },
      { name: "saved", number: true, cell: (row) => bytes(row.saved_bytes) },
      { name: "step time", number: true, cell: (row) => ratio(row.step_cost_ratio) },
      { name: "results", cell: (row) => (row.changes_results ? "change" : "same") },
    ],
    [...report.remedies].sort((a, b) => a.peak_allocated_bytes - b.peak_allocated_bytes),
    (row) => JSON.stringify(row.ids) === chosen,
  );
}

function timeline(report, data) {
  if (!data)
    return report.timeline_path
      ? section("Timeline", null, empty(`The points are not at hand; the picture is ${report.timeline_path}.`))
      : null;
  const series = data.kinds.map((name, at) => ({
    name: sentence(name),
    colour: KINDS[name],
    values: data.points.map((point) => point[at + 1]),
  }));
  return section(
    "Timeline",
    "births and deaths of tensors over two steps, in order; not in time",
    stacked({
      label: `Memory over two steps by kind, ${bytes(report.peak_allocated_bytes)} at the peak`,
      x: data.points.map((point) => point[0]),
      xName: "births and deaths, in order",
      format: bytes,
      series,
      spans: data.phases,
      level: report.capacity_bytes
        ? { value: report.capacity_bytes, text: `usable on ${report.gpu}: ${bytes(report.capacity_bytes)}` }
        : null,
    }),
  );
}

const memoryFigures = (report) =>
  figures([
    {
      label: "Allocated at the peak",
      value: bytes(report.peak_allocated_bytes),
      basis: report.bases.peak_allocated_bytes,
    },
    { label: "Reserved", value: bytes(report.peak_reserved_bytes), basis: report.bases.peak_reserved_bytes },
    {
      label: "On the device",
      value: bytes(report.device_bytes),
      note: "with context",
      basis: report.bases.device_bytes,
    },
    {
      label: "Usable on the card",
      value: report.capacity_bytes ? bytes(report.capacity_bytes) : null,
      basis: report.bases.capacity_bytes,
    },
    { label: "Margin kept free", value: report.margin_bytes ? bytes(report.margin_bytes) : null },
    {
      label: "Largest batch that fits",
      value: report.largest_batch ? number(report.largest_batch.fits) : null,
      note: report.batch ? `today ${number(report.batch)}` : null,
    },
  ]);

const breakdown = (bytesOf) =>
  parts(
    Object.entries(KINDS).map(([name, colour_]) => ({
      name: sentence(name),
      value: bytesOf[`${name}_bytes`],
      text: bytes(bytesOf[`${name}_bytes`]),
      colour: `var(${colour_})`,
    })),
    "At the peak",
  );

const chosenCard = (remedy) =>
  h(
    "div",
    { class_: "card chosen" },
    h("div", { class_: "row apart" }, h("h3", {}, together(remedy)), fitTag(remedy.fits)),
    h("p", {}, remedyWords(remedy)),
  );

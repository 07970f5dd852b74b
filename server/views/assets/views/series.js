// compare_baselines and augment_series.
const FINDINGS = { helps: "good", hurts: "poor", "cannot tell": "" };
const LASTING = { yes: ", elsewhere too", no: ", not elsewhere", "cannot tell": ", elsewhere not known" };
const CURVES = ["--text", "--c1", "--c2", "--c3", "--c4", "--c5"];

VIEWS.compare_baselines = (report, { beside }) => {
  const best = report.recommended;
  const classes = "accuracy" in best;
  return [
    heading(
      classes ? "Classifiers compared" : "Forecasts compared",
      `Use ${best.model}${best.augmentation === "none" ? "" : ` with ${best.augmentation}`}`,
      classes ? `Accuracy ${percent(best.accuracy, 1)} over ${count(report.folds, "fold")}.` : scores(report),
      tag("measured"),
      !classes && tag(`season ${report.season}`),
    ),
    warnings(report.warnings),
    beside.curves &&
      section(
        "Forecast",
        "with the 80 % interval of the backtest's own errors",
        choices(
          "Series",
          beside.curves.map(([title, curves]) => ({
            name: title,
            draw: () => forecast(title, curves, beside.forecast[title] || []),
          })),
        ),
      ),
    !beside.curves &&
      report.forecast_path &&
      section("Forecast", null, empty(`Its values are in ${report.forecast_path}.`)),
    section("Models", classes ? null : "lower is better", modelTable(report, classes)),
    section(
      "Does augmentation help?",
      null,
      report.verdict.length ? augmentation(report.verdict) : empty("No augmentation was judged."),
    ),
    h("div", {}, said("Not run", report.not_run), said("Failures", report.failures)),
  ];
};

function modelTable(report, classes) {
  const best = report.recommended;
  const columns = classes
    ? [
        ["accuracy", "accuracy"],
        ["macro F1", "macro_f1"],
      ]
    : [
        ["MASE", "mase"],
        ["RMSSE", "rmsse"],
        ["sMAPE", "smape"],
        ["CRPS", "crps"],
      ];
  return table(
    "Models",
    [
      {
        name: "model",
        cell: (row) => [
          breakable(row.model),
          row.augmentation !== "none" && h("span", { class_: "small quiet" }, `with ${row.augmentation}`),
        ],
      },
      ...columns.map(([name, key]) => ({ name, number: true, cell: (row) => number(row[key]) })),
      { name: "time", number: true, cell: (row) => seconds(row.seconds) },
      { name: "peak memory", number: true, cell: (row) => bytes(row.peak_rss_bytes) },
    ],
    report.table,
    (row) => row.model === best.model && row.augmentation === best.augmentation,
  );
}

function forecast(title, curves, rows) {
  const history = curves.find(([name]) => name === "history");
  const ahead = curves.find(([name]) => name === "forecast");
  const steps = history[1].length + ahead[1].length;
  const spread = (values, first) => Array.from({ length: steps }, (_, at) => values[at - first] ?? null);
  const band = rows.length
    ? {
        low: spread(
          rows.map((row) => row[2]),
          ahead[2],
        ),
        high: spread(
          rows.map((row) => row[3]),
          ahead[2],
        ),
        colour: "--c1",
        name: "80 % interval",
      }
    : null;
  const stamp = (at) => rows[at - ahead[2]]?.[0] || `${number(at - ahead[2])}`;
  return lines({
    label: `${title}: history and forecast of ${count(ahead[1].length, "step")}`,
    x: Array.from({ length: steps }, (_, at) => at),
    xName: "steps from the last known value",
    xFormat: (at) => (at >= ahead[2] && Number.isInteger(at) && steps < 9 ? stamp(at) : number(at - ahead[2])),
    yName: title,
    band,
    height: 260,
    series: [
      { name: "history", colour: "--text", values: spread(history[1], 0) },
      { name: "forecast", colour: "--c1", values: spread(ahead[1], ahead[2]) },
    ],
  });
}

VIEWS.augment_series = (report, { beside }) => [
  heading(
    "Synthetic copies",
    report.output_path
      ? `${count(report.synthetic_rows, "synthetic row")} from ${count(report.series, "series", "series")}`
      : "The recipe of the copies",
    "Likeness says nothing about use: compare_baselines measures whether copies help.",
    tag(`${number(report.rows)} rows in all`),
    tag("originals unchanged"),
  ),
  warnings(report.warnings),
  beside.curves &&
    section(
      "Originals and copies",
      null,
      choices(
        "Series",
        beside.curves.map(([title, curves]) => ({ name: title, draw: () => copies(title, curves) })),
      ),
    ),
  section(
    "How far the copies are from their originals",
    "0 is the same",
    report.fidelity.length
      ? table("Fidelity by method", fidelityColumns(report.fidelity), report.fidelity)
      : empty("No copy was made, so there is nothing to compare."),
  ),
  more(
    "Files",
    pairs([
      ["Table", report.output_path],
      ["Manifest", report.manifest_path],
    ]),
  ),
];

function copies(title, curves) {
  const length = Math.max(...curves.map(([, values, first]) => values.length + first));
  const spread = ([, values, first]) => Array.from({ length }, (_, at) => values[at - first] ?? null);
  return lines({
    label: `${title}: the original and ${count(curves.length - 1, "copy", "copies")}`,
    x: Array.from({ length }, (_, at) => at),
    xName: "step",
    yName: title,
    height: 260,
    series: curves.map((curve, at) => ({
      name: curve[0],
      wide: at === 0,
      colour: CURVES[at % CURVES.length],
      values: spread(curve),
    })),
  });
}

function fidelityColumns(rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter(
    (name) => name !== "method" && name !== "basis",
  );
  return [
    { name: "method", cell: (row) => row.method },
    ...names.map((name) => ({
      name: plain(name),
      number: true,
      cell: (row) => (typeof row[name] === "number" || !known(row[name]) ? number(row[name], 3) : String(row[name])),
    })),
  ];
}

const subject = (one) => (one.augmentation === "none" ? one.model : one.augmentation);

const augmentation = (verdicts) => [
  ranges(
    "Difference that augmentation makes",
    verdicts.map((one) => ({
      name:
        one.augmentation === "none" ? `${one.model} against ${one.against}` : `${one.model} with ${one.augmentation}`,
      value: one.difference,
      low: one.interval[0],
      high: one.interval[1],
      kind: { helps: "good", hurts: "poor" }[one.verdict] || "none",
      verdict: one.verdict,
    })),
    {
      mark: 0,
      least: 1,
      text: (row) => `${number(row.value, 3)} (${number(row.low, 3)} to ${number(row.high, 3)})`,
    },
  ),
  h("p", { class_: "small quiet" }, sentence(verdicts[0].unit), "; the dashed line is no difference."),
  h(
    "div",
    { class_: "row" },
    verdicts.map((one) =>
      tag(`${subject(one)}: ${one.verdict}${LASTING[one.holds_elsewhere] || ""}`, FINDINGS[one.verdict]),
    ),
  ),
];

function scores({ recommended, folds, series }) {
  const over = `over ${count(folds, "fold")} and ${count(series, "series", "series")}`;
  const naive = recommended.mase_of_seasonal_naive;
  return `MASE ${number(recommended.mase, 3)} ${over}${known(naive) ? `; the seasonal naive has ${number(naive, 3)}` : ""}.`;
}

const said = (title, rows) =>
  rows.length ? more(`${title} (${rows.length})`, list(rows.map((row) => Object.values(row).join(": ")))) : null;

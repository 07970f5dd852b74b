// uPlot behind three pictures: lines with bands, stacked areas, named points. A table with the same values is never far.
const PLOTS = new Set();
const probe = h("span", { hidden: true });

// A token's colour as the canvas wants it, in the theme of the moment.
function colour(token, strength = 100) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color =
    strength === 100 ? `var(${token})` : `color-mix(in srgb, var(${token}) ${strength}%, transparent)`;
  return getComputedStyle(probe).color;
}

function repaint() {
  for (const one of PLOTS) {
    if (one.root.isConnected) one.redraw(false, true);
    else PLOTS.delete(one);
  }
}

const font = () => `12px ${getComputedStyle(document.body).fontFamily}`;

function axis(name, format, more_ = {}) {
  return {
    label: name || null,
    labelFont: font(),
    labelSize: 22,
    labelGap: 2,
    font: font(),
    gap: 6,
    size: 26,
    ticks: { show: false },
    stroke: () => colour("--quiet"),
    grid: { stroke: () => colour("--text", 9), width: 1 },
    values: (_, ticks) => ticks.map((tick) => (known(tick) ? format(tick) : "")),
    ...more_,
  };
}

// Draws once there is a width to draw in, and again when it changes.
function plot(label, height, options, data) {
  const place = h("div", { class_: "plot", role: "img", "aria-label": label, style: { height: `${height}px` } });
  let made = null;
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (!width) return;
    if (made) return made.setSize({ width, height });
    const base = {
      width,
      height,
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 7 } },
      padding: [10, 12, 0, 0],
    };
    made = new uPlot({ ...base, ...options }, data, place);
    PLOTS.add(made);
  }).observe(place);
  return place;
}

// A legend that says the values under the pointer.
function liveLegend(entries, format) {
  const values = entries.map(() => h("b"));
  const node = h(
    "ul",
    { class_: "legend", "aria-hidden": "true" },
    entries.map((entry, at) =>
      h(
        "li",
        {},
        swatch(
          entry.wide ? `color-mix(in srgb, var(${entry.colour}) 45%, transparent)` : `var(${entry.colour})`,
          entry.line,
        ),
        entry.name,
        values[at],
      ),
    ),
  );
  const show = (at) =>
    entries.forEach((entry, place) => {
      values[place].textContent = known(at) && known(entry.values[at]) ? format(entry.values[at]) : "";
    });
  return { node, hook: (u) => show(u.cursor.idx) };
}

const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6];
const BINARY = Array.from({ length: 46 }, (_, power) => 2 ** power); // for bytes
const TABLE_ROWS = 200; // of a chart's own table; the artifact has them all

function figure(title, picture, legend, columns, rows) {
  const stride = Math.ceil(rows.length / TABLE_ROWS);
  const shown = rows.filter((_, at) => at % stride === 0);
  const name = stride > 1 ? `Data as a table (every ${stride}. of ${number(rows.length)} points)` : "Data as a table";
  return h(
    "figure",
    {},
    title && h("figcaption", { class_: "quiet small" }, title),
    picture,
    legend,
    more(name, table(title || name, columns, shown)),
  );
}

// series: [{name, values, colour, dash}]; band: {low, high, colour, name}.
function lines({
  label,
  title,
  x,
  xName,
  xFormat = number,
  whole = false,
  yName,
  format = number,
  series,
  band,
  level,
  height = 240,
}) {
  const legend = liveLegend(
    series.map((one) => ({ ...one, line: true })),
    format,
  );
  const edges = band ? [band.high, band.low] : [];
  const options = {
    scales: { x: { time: false } },
    axes: [axis(xName, xFormat, whole ? { incrs: WHOLE } : {}), axis(yName, format, { size: 60 })],
    series: [
      {},
      ...series.map((one) => ({
        stroke: () => colour(one.colour, one.wide ? 45 : 100),
        width: one.wide ? 6 : 2,
        points: { show: x.length < 40, size: 5, fill: () => colour(one.colour) },
        spanGaps: false,
      })),
      ...edges.map(() => ({ stroke: "transparent", points: { show: false } })),
    ],
    bands: band ? [{ series: [series.length + 1, series.length + 2], fill: () => colour(band.colour, 22) }] : [],
    hooks: { setCursor: [legend.hook], draw: level ? [(u) => drawLevel(u, level)] : [] },
  };
  if (band)
    legend.node.append(h("li", {}, swatch(`color-mix(in srgb, var(${band.colour}) 30%, transparent)`), band.name));
  const columns = [
    { name: xName, cell: (at) => xFormat(x[at]) },
    ...[
      ...series,
      ...(band
        ? [
            { name: "low", values: band.low },
            { name: "high", values: band.high },
          ]
        : []),
    ].map((one) => ({ name: one.name, number: true, cell: (at) => format(one.values[at]) })),
  ];
  return figure(
    title,
    plot(label, height, options, [x, ...series.map((one) => one.values), ...edges]),
    legend.node,
    columns,
    x.map((_, at) => at),
  );
}

// series as for lines, each on top of those before it; level: {value, text}; spans: [[x, name]].
function stacked({ label, title, x, xName, format, series, level, spans = [], height = 280 }) {
  const sums = [];
  series.forEach((one, at) => sums.push(one.values.map((value, place) => value + (at ? sums[at - 1][place] : 0))));
  const legend = liveLegend(series, format);
  const highest = Math.max(...sums.at(-1));
  const top = level && level.value < 3 * highest ? Math.max(highest, level.value) : highest;
  const options = {
    scales: { x: { time: false }, y: { range: [0, top * 1.08] } },
    axes: [axis(xName, () => "", { grid: { show: false } }), axis("", format, { size: 70, incrs: BINARY })],
    series: [
      {},
      ...series.map((one, at) => ({
        stroke: () => colour(one.colour),
        width: 1,
        points: { show: false },
        fill: at ? undefined : () => colour(one.colour, 70),
      })),
    ],
    bands: series.slice(1).map((one, at) => ({ series: [at + 2, at + 1], fill: () => colour(one.colour, 70) })),
    hooks: {
      setCursor: [legend.hook],
      draw: [(u) => drawSpans(u, spans), ...(level && level.value <= top ? [(u) => drawLevel(u, level)] : [])],
    },
  };
  const columns = [
    { name: xName, cell: (at) => number(x[at]) },
    ...series.map((one) => ({ name: one.name, number: true, cell: (at) => format(one.values[at]) })),
  ];
  return figure(
    title,
    plot(label, height, options, [x, ...sums]),
    legend.node,
    columns,
    x.map((_, at) => at),
  );
}

function drawLevel(u, level) {
  const [ctx, ratio_] = [u.ctx, devicePixelRatio];
  const y = u.valToPos(level.value, "y", true);
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour(level.colour || "--poor");
  ctx.lineWidth = 1.5 * ratio_;
  ctx.setLineDash([6 * ratio_, 4 * ratio_]);
  ctx.beginPath();
  ctx.moveTo(u.bbox.left, y);
  ctx.lineTo(u.bbox.left + u.bbox.width, y);
  ctx.stroke();
  written(ctx, level.text, u.bbox.left + u.bbox.width - 6 * ratio_, y - 6 * ratio_, "right");
  ctx.restore();
}

function drawSpans(u, spans) {
  const [ctx, ratio_] = [u.ctx, devicePixelRatio];
  let free = -Infinity;
  ctx.save();
  for (const [x, name] of spans) {
    const left = u.valToPos(x, "x", true);
    ctx.strokeStyle = colour("--text", 25);
    ctx.lineWidth = ratio_;
    ctx.beginPath();
    ctx.moveTo(left, u.bbox.top);
    ctx.lineTo(left, u.bbox.top + u.bbox.height);
    ctx.stroke();
    ctx.fillStyle = colour("--quiet");
    if (left < free) continue;
    written(ctx, name, left + 3 * ratio_, u.bbox.top + u.bbox.height + 16 * ratio_, "left");
    free = left + ctx.measureText(name).width + 6 * ratio_;
  }
  ctx.restore();
}

function written(ctx, text, x, y, align) {
  ctx.font = `${12 * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
  ctx.textAlign = align;
  ctx.textBaseline = "alphabetic";
  ctx.fillText(text, x, y);
}

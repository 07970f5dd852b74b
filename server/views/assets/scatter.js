// Named points, with whiskers and names that do not cover each other.
// points: [{x, y, name, kind, low, high}]; kinds: {kind: {name, colour}}.
function scatter({ label, title, points, kinds, xName, yName, xFormat, yFormat, height = 300, zeroY = false }) {
  const sorted = [...points].sort((a, b) => a.x - b.x);
  const used = Object.keys(kinds).filter((kind) => sorted.some((point) => point.kind === kind));
  const values = sorted.flatMap((point) => [point.y, point.low, point.high]).filter(known);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = (high - low) * 0.16 || Math.abs(high) * 0.05 || 1;
  const options = {
    scales: {
      x: { time: false, range: [0, Math.max(...sorted.map((point) => point.x)) * 1.14 || 1] },
      y: { range: [zeroY ? 0 : low - margin, high + margin] },
    },
    axes: [axis(xName, xFormat, {}), axis(yName, yFormat, { size: 60 })],
    cursor: { show: false },
    series: [{}, ...used.map((kind) => markers(kinds[kind]))],
    hooks: {
      draw: [
        (u) => {
          drawWhiskers(u, sorted, kinds);
          drawNames(u, sorted);
        },
      ],
    },
  };
  const data = [
    sorted.map((point) => point.x),
    ...used.map((kind) => sorted.map((point) => (point.kind === kind ? point.y : null))),
  ];
  const legend = h(
    "ul",
    { class_: "legend" },
    used.map((kind) => h("li", {}, swatch(`var(${kinds[kind].colour})`), kinds[kind].name)),
  );
  const columns = [
    { name: "name", cell: (point) => point.name },
    { name: xName, number: true, cell: (point) => xFormat(point.x) },
    { name: yName, number: true, cell: (point) => yFormat(point.y) },
    { name: "kind", cell: (point) => kinds[point.kind].name },
  ];
  return figure(title, plot(label, height, options, data), legend, columns, sorted);
}

const markers = (kind) => ({
  paths: () => null,
  stroke: () => colour(kind.colour),
  points: {
    show: true,
    size: kind.size || 9,
    width: 2,
    stroke: () => colour(kind.colour),
    fill: () => colour(kind.hollow ? "--page" : kind.colour),
  },
});

function drawWhiskers(u, points, kinds) {
  u.ctx.save();
  for (const point of points.filter((one) => known(one.low))) {
    const x = u.valToPos(point.x, "x", true);
    u.ctx.strokeStyle = colour(kinds[point.kind].colour, 55);
    u.ctx.lineWidth = 2 * devicePixelRatio;
    u.ctx.beginPath();
    u.ctx.moveTo(x, u.valToPos(point.low, "y", true));
    u.ctx.lineTo(x, u.valToPos(point.high, "y", true));
    u.ctx.stroke();
  }
  u.ctx.restore();
}

// Above its point, else further up or below, where no other name is; a name with no place stays in the table.
function drawNames(u, points) {
  const [ctx, px] = [u.ctx, devicePixelRatio];
  const taken = points.map((point) => [
    u.valToPos(point.x, "x", true) - 6 * px,
    u.valToPos(point.y, "y", true) + 6 * px,
    12 * px,
  ]);
  ctx.save();
  ctx.fillStyle = colour("--text");
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  ctx.font = `${12 * px}px ${getComputedStyle(document.body).fontFamily}`;
  for (const point of points) {
    const text = point.short || point.name;
    const width = ctx.measureText(text).width;
    const right = u.bbox.left + u.bbox.width;
    const x = Math.min(u.valToPos(point.x, "x", true) + 8 * px, right - width);
    const free = (y) =>
      y > u.bbox.top + 10 * px &&
      y < u.bbox.top + u.bbox.height &&
      taken.every(
        ([at, row, wide]) => Math.abs(row - y) > 12 * px || at > x + width + 4 * px || at + wide < x - 4 * px,
      );
    const y = [-9, 18, -24, 32, -38, 46].map((shift) => u.valToPos(point.y, "y", true) + shift * px).find(free);
    if (!known(y)) continue;
    taken.push([x, y, width]);
    ctx.fillText(text, x, y);
  }
  ctx.restore();
}

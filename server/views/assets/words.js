// Figures as people read them. What is null stays visible as a dash.
const VIEWS = {}; // by tool: a function from its Report to elements
const DASH = "\u2013";

const known = (value) => value !== null && value !== undefined;
const SHORT = { gpu: "GPU", cpu: "CPU", lora: "LoRA", rss: "RSS", kv: "KV", lr: "LR", bf16: "bf16", io: "I/O" };
const plain = (name) =>
  String(name)
    .split("_")
    .map((word) => SHORT[word] || word)
    .join(" ");
const sentence = (text) => (text && !/^\w*[_\d]/.test(text) ? text[0].toUpperCase() + text.slice(1) : text); // a name stays as it is
const count = (n, noun, plural = `${noun}s`) => `${number(n)} ${n === 1 ? noun : plural}`;

const minus = (text) => text.replace("-", "\u2212");

function number(value, digits = 4) {
  if (!known(value)) return DASH;
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return minus(value.toLocaleString("en-US"));
  return minus(Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumFractionDigits: 10 }));
}

function bytes(value) {
  if (!known(value)) return DASH;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (Math.abs(size) >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${minus(size.toFixed(unit < 2 ? 0 : Math.abs(size) < 10 ? 2 : 1))} ${units[unit]}`;
}

function seconds(value) {
  if (!known(value)) return DASH;
  const size = Math.abs(value);
  if (size >= 172800) return `${number(value / 86400, 3)} days`;
  if (size >= 7200) return `${number(value / 3600, 3)} h`;
  if (size >= 120) return `${number(value / 60, 3)} min`;
  if (size >= 1 || size === 0) return `${number(value, 3)} s`;
  return size >= 1e-3 ? `${number(value * 1e3, 3)} ms` : `${number(value * 1e6, 3)} \u00b5s`;
}

function dollars(value) {
  if (!known(value)) return DASH;
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 0.1 || value === 0 ? 2 : 4;
  const text = Math.abs(value).toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return `${value < 0 ? "\u2212" : ""}$${text}`;
}

const percent = (share, digits = 0) => (known(share) ? `${(share * 100).toFixed(digits)} %` : DASH);
const ratio = (value) => (known(value) ? `${number(value, 3)}\u00d7` : DASH);

// Metrics of the ledger in words, alone and inside a sentence.
const METRICS = {
  peak_rss_bytes: "peak host memory",
  peak_gpu_bytes: "peak GPU memory",
  step_seconds_p50: "median step time",
  step_seconds_p95: "p95 step time",
  wall_seconds: "wall time",
  data_wait_share: "share of waiting for data",
  final_loss: "final loss",
};
const metricName = (metric) => METRICS[metric] || metric.replace(/^metric:/, "");
const worded = (text) => Object.entries(METRICS).reduce((all, [metric, name]) => all.replaceAll(metric, name), text);

// By the unit that a figure's name or record states.
function inUnit(value, unit) {
  if (unit === "bytes") return bytes(value);
  if (unit === "seconds" || unit === "s") return seconds(value);
  if (unit === "usd") return dollars(value);
  if (unit === "pct") return known(value) ? `${number(value)} %` : DASH;
  return number(value) + (known(value) && unit && unit.length < 12 && unit !== "1" ? ` ${plain(unit)}` : "");
}

// numbers{} of a triage: the unit is the last part of the key.
const UNITS = {
  gib: "GiB",
  mib: "MiB",
  gb: "GB",
  bytes: "bytes",
  pct: "%",
  ms: "ms",
  s: "s",
  hours: "h",
  days: "days",
  usd: "USD",
  day: "USD a day",
  month: "USD a month",
};

function named(key, value) {
  const last = key.split("_").at(-1);
  const label = UNITS[last] ? key.replace(/_usd_per_(day|month)$|_[^_]+$/, "") : key;
  const text = Array.isArray(value)
    ? value.join(" \u00d7 ")
    : typeof value === "number"
      ? number(value, 6)
      : String(value);
  return { label: sentence(plain(label)), value: UNITS[last] ? `${text} ${UNITS[last]}` : text };
}

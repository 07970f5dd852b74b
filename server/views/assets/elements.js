// Building blocks. All text goes through text nodes: what a log or a file name holds is never read as markup.
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, set] of Object.entries(value)) element.style.setProperty(key, set);
    else element.setAttribute(name === "class_" ? "class" : name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => known(child) && child !== false && child !== ""));
  return element;
}

const basisMark = (basis) => basis && h("span", { class_: "basis", title: "How this figure is known" }, basis);

const SIGNS = { good: "\u2713", fair: "!", poor: "\u2715" };
// A name that may break after its underscores and nowhere else.
const breakable = (name) =>
  String(name)
    .split(/(?<=_)/)
    .flatMap((part) => [part, h("wbr")]);
const signed = (kind, text) =>
  SIGNS[kind] ? [h("span", { class_: kind, "aria-hidden": "true" }, SIGNS[kind]), ` ${text}`] : text;
const tag = (text, kind = "") =>
  h("span", { class_: `tag ${kind}` }, SIGNS[kind] && h("span", { "aria-hidden": "true" }, SIGNS[kind]), text);

const heading = (kicker, title, lead, ...marks) =>
  h(
    "header",
    {},
    h("p", { class_: "kicker" }, kicker),
    h("h1", { tabindex: "-1" }, title),
    lead && h("p", { class_: "lead" }, lead),
    marks.flat().some(known) && h("div", { class_: "row" }, marks),
  );

const section = (title, note, ...content) =>
  h(
    "section",
    { "aria-label": title },
    h("div", { class_: "heading" }, h("h2", {}, title), note && h("span", { class_: "quiet" }, note)),
    content,
  );

// [{label, value, note, basis}]; those without a value are left out.
function figures(items) {
  const shown = items.filter((item) => item && known(item.value) && item.value !== DASH);
  if (!shown.length) return null;
  return h(
    "dl",
    { class_: "figures" },
    shown.map((item) => {
      const below = [item.note, item.basis].filter(Boolean).join(", ");
      return h(
        "div",
        {},
        h("dt", {}, item.label),
        h("dd", { class_: item.kind }, item.value),
        below && h("dd", {}, below),
      );
    }),
  );
}

function pairs(entries) {
  const shown = entries.filter(([, value]) => known(value) && value !== "" && value !== DASH);
  return shown.length
    ? h(
        "dl",
        { class_: "pairs" },
        shown.map(([key, value]) => [h("dt", {}, key), h("dd", {}, value)]),
      )
    : null;
}

const list = (items) =>
  h(
    "ul",
    { class_: "list" },
    items.map((item) => h("li", {}, item)),
  );
const warnings = (items) =>
  items && items.length
    ? h("div", { class_: "callout warn", role: "note" }, h("h3", {}, "Warnings"), list(items))
    : null;
const notes = (title, items) => (items && items.length ? section(title, null, list(items)) : null);
const more = (title, ...content) => {
  const inside = content.flat().filter(Boolean);
  return inside.length ? h("details", {}, h("summary", {}, title), inside) : null;
};
const empty = (text) => h("p", { class_: "callout quiet" }, text);

const span = (share) => `${100 * Math.max(0, Math.min(1, share))}%`;
const meter = (share, label, mark) =>
  h(
    "div",
    { class_: "meter", role: "img", "aria-label": label },
    h("i", { style: { width: span(share) } }),
    known(mark) && h("i", { class_: "mark", style: { left: span(mark) } }),
  );

const swatch = (colour, line) => h("span", { class_: line ? "swatch line" : "swatch", style: { background: colour } });

// One bar of parts: [{name, value, text, colour}].
function parts(items, label) {
  const shown = items.filter((item) => item.value > 0);
  const spoken = shown.map((item) => `${item.name} ${item.text}`).join(", ");
  return h(
    "div",
    { style: { display: "grid", gap: "10px" } },
    h(
      "div",
      { class_: "parts", role: "img", "aria-label": `${label}: ${spoken}` },
      shown.map((item) => h("i", { style: { flex: String(item.value), background: item.colour } })),
    ),
    h(
      "ul",
      { class_: "legend" },
      items.map((item) => h("li", {}, swatch(item.colour), item.name, h("b", {}, item.text))),
    ),
  );
}

const FOLDED_ROWS = 10;

// columns: [{name, cell(row), number, wide}]; the first one heads its row. Long tables start folded.
function table(caption, columns, rows, isChosen = () => false) {
  const line = (row) => tableLine(columns, row, isChosen(row));
  const shown = FOLDED_ROWS + 2 >= rows.length ? rows.length : FOLDED_ROWS;
  const body = h("tbody", {}, rows.slice(0, shown).map(line));
  const head = columns.map((column) => h("th", { scope: "col", class_: column.number ? "number" : null }, column.name));
  const whole = h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), body);
  return h(
    "div",
    {},
    h("div", { class_: "scroll", tabindex: "0", role: "region", "aria-label": caption }, whole),
    shown < rows.length && unfold(body, rows.slice(shown), line),
  );
}

function tableLine(columns, row, chosen) {
  const kind = (column) => (column.number ? "number" : column.wide ? "wide" : null);
  const [first, ...others] = columns;
  return h(
    "tr",
    { class_: chosen ? "chosen" : null },
    h("th", { scope: "row", class_: kind(first) }, first.cell(row)),
    others.map((column) => h("td", { class_: kind(column) }, column.cell(row))),
  );
}

// The button that shows the rest of a table, and takes the keyboard there.
function unfold(body, rest, line) {
  const show = (event) => {
    const lines = rest.map(line);
    body.append(...lines);
    const first = lines[0].querySelector("th");
    first.setAttribute("tabindex", "-1");
    first.focus();
    event.target.remove();
  };
  return h("button", { class_: "plain", onclick: show }, `Show ${rest.length} more`);
}

// Radio buttons that redraw one place: options [{name, draw()}].
let groups = 0;
function choices(label, options) {
  const place = h("div", {}, options[0].draw());
  if (options.length < 2) return place;
  groups += 1;
  const group = `choice-${groups}`;
  return h(
    "div",
    { style: { display: "grid", gap: "10px" } },
    h(
      "fieldset",
      { class_: "choices" },
      h("legend", { class_: "unseen" }, label),
      options.map((option, at) =>
        h(
          "label",
          {},
          h("input", {
            type: "radio",
            name: group,
            checked: at === 0,
            onchange: () => place.replaceChildren(option.draw()),
          }),
          option.name,
        ),
      ),
    ),
    place,
  );
}

// Intervals below each other on one scale: rows [{name, low, high, value, kind}]. The scale holds zero; with `mark`, the
// line of no change, it reaches `least` to both sides of that instead: nothing looks far apart that is not.
function ranges(label, rows, { mark, least, text }) {
  const held = known(mark) ? [mark - least, mark + least] : [0];
  const values = rows
    .flatMap((row) => [row.low, row.high, row.value])
    .filter(known)
    .concat(held);
  const margin = (Math.max(...values) - Math.min(...values)) * 0.03 || 1;
  const [from, to] = [Math.min(...values) - (known(mark) ? margin : 0), Math.max(...values) + margin];
  const at = (value) => `${(100 * (value - from)) / (to - from)}%`;
  const bar = (row) =>
    h(
      "div",
      { class_: `range ${row.kind || ""}`, role: "img", "aria-label": `${row.name}: ${text(row)}` },
      known(mark) && h("i", { class_: "mark", style: { left: at(mark) } }),
      known(row.low) &&
        known(row.high) &&
        h("i", {
          class_: "span",
          style: { left: at(row.low), width: `${(100 * (row.high - row.low)) / (to - from)}%` },
        }),
      known(row.value) && h("i", { class_: "dot", style: { left: at(row.value) } }),
    );
  return h(
    "div",
    { role: "group", "aria-label": label },
    h(
      "div",
      { class_: "ranges" },
      rows.map((row) => h("div", {}, h("div", {}, row.name), bar(row), h("div", { class_: "number" }, text(row)))),
    ),
  );
}

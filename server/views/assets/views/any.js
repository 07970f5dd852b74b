// A Report without a view of its own, as it is: fields, lists, and tables where a list is of records.
VIEWS.any = (report, { tool }) => {
  const isTable = ([, value]) => Array.isArray(value) && value.length > 0 && value.every(isRecord);
  const entries = Object.entries(report);
  return [
    heading("Report", sentence(plain(tool))),
    anything(Object.fromEntries(entries.filter((entry) => !isTable(entry)))),
    entries.filter(isTable).map(([key, rows]) => section(sentence(plain(key)), null, records(plain(key), rows))),
  ];
};

const isRecord = (value) =>
  value !== null &&
  typeof value === "object" &&
  Object.values(value).every((inner) => inner === null || typeof inner !== "object");

function records(caption, rows) {
  const names = [...new Set(rows.flatMap(Object.keys))];
  return table(
    caption,
    names.map((name) => ({ name: plain(name), cell: (row) => anything(row[name]) })),
    rows,
  );
}

function anything(value) {
  if (Array.isArray(value)) return value.length ? list(value.map(anything)) : DASH;
  if (value && typeof value === "object")
    return pairs(Object.entries(value).map(([key, inner]) => [plain(key), anything(inner)])) || DASH;
  return known(value) ? String(value) : DASH;
}

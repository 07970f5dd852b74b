// A Report without a view of its own, as it is.
VIEWS.any = (report, { tool }) => [heading("Report", sentence(plain(tool))), anything(report)];

function anything(value) {
  if (Array.isArray(value))
    return value.length
      ? h(
          "ol",
          { class_: "list" },
          value.map((item) => h("li", {}, anything(item))),
        )
      : DASH;
  if (value && typeof value === "object")
    return pairs(Object.entries(value).map(([key, inner]) => [plain(key), anything(inner)])) || DASH;
  return known(value) ? String(value) : DASH;
}

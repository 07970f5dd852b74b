// apply_amp_patch: the diff, and for each site what is done and why.
const OUTCOMES = { patched: "good", framework_option: "good", declined: "fair", already: "", nothing_to_do: "" };
const TITLES = {
  patched: "Patched",
  framework_option: "Patched through the framework",
  declined: "Declined",
  already: "Already so",
  nothing_to_do: "Nothing to do",
};
const ACTIONS = { edit: "good", decline: "fair", warn: "fair", keep: "" };

VIEWS.apply_amp_patch = (report, context) => {
  const written = Boolean(report.backup_path);
  return [
    heading(
      "Patch",
      written
        ? "Written; a backup is kept"
        : report.diff
          ? `${TITLES[report.outcome]} as a dry run`
          : TITLES[report.outcome],
      written ? `Backup: ${report.backup_path}` : report.diff ? "Nothing was changed in your file." : null,
      Object.entries(report.remedies).map(([name, outcome]) =>
        tag(`${plain(name)}: ${plain(outcome)}`, OUTCOMES[outcome]),
      ),
    ),
    warnings(report.warnings),
    report.verification &&
      h(
        "div",
        { class_: "callout" },
        h("h3", {}, "Verified by running both"),
        h("p", {}, sentence(report.verification.verdict || "")),
      ),
    section(
      "Sites",
      "line of your file, what is done there, and why",
      report.sites.length ? siteTable(report.sites) : empty("No place in the file is concerned."),
    ),
    report.diff && section("Diff", null, diff(report)),
    report.diff && !written && writeButton(report, context),
    more(
      "Files",
      pairs([
        ["Patched file", report.patched_path],
        ["SHA-256 of the source", report.source_sha256],
        ["SHA-256 of the patched file", report.patched_sha256],
      ]),
    ),
  ];
};

const siteTable = (sites) =>
  table(
    "Sites",
    [
      { name: "line", cell: (site) => number(site.line) },
      { name: "remedy", cell: (site) => plain(site.remedy) },
      { name: "action", cell: (site) => tag(site.action, ACTIONS[site.action]) },
      {
        name: "why",
        wide: true,
        cell: (site) => [sentence(site.note), h("span", { class_: "small quiet mono" }, site.reason_code)],
      },
    ],
    [...sites].sort((a, b) => a.line - b.line),
  );

// Old line numbers; the reasons of edits stand below the lines that they replace.
function diff(report) {
  const reasons = new Map();
  for (const site of report.sites.filter((one) => one.action === "edit"))
    reasons.set(site.line, [...(reasons.get(site.line) || []), site.note]);
  let line = 0;
  const rows = report.diff
    .split("\n")
    .slice(2)
    .filter((text, at, all) => text || at < all.length - 1)
    .map((text) => {
      const hunk = /^@@ -(\d+)/.exec(text);
      if (hunk) {
        line = Number(hunk[1]);
        return h("div", { class_: "hunk" }, h("span"), h("span"), h("span", {}, text));
      }
      const kind = { "+": "added", "-": "removed" }[text[0]];
      const at = kind === "added" ? "" : String(line);
      const why = kind === "removed" ? reasons.get(line) : null;
      if (kind !== "added") line += 1;
      return [
        h(
          "div",
          { class_: kind },
          h("span", {}, at),
          h("span", { "aria-label": kind }, text[0] || " "),
          h("span", {}, text.slice(1)),
        ),
        why && h("div", { class_: "why" }, "\u21b3 ", sentence(why.join("; "))),
      ];
    });
  return h("div", { class_: "diff", tabindex: "0", role: "region", "aria-label": "Diff of the file" }, rows);
}

function writeButton(report, context) {
  const given = { ...context.arguments, write: true, expected_sha256: report.source_sha256 };
  return section(
    "Write it",
    "replaces the file in one step, if it is still the one the dry run saw; a backup stays beside it",
    action({ tool: "apply_amp_patch", arguments: given }, "Replace the file", "Sure? Replace it"),
  );
}

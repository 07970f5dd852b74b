// Where the Report comes from: the page itself, or the host (MCP Apps, 2026-01-26: JSON-RPC over postMessage).
const PROTOCOL = "2026-01-26";
const PAGE = JSON.parse(document.getElementById("data").textContent);
const BESIDE = "optimizing-resources/beside";
const PASSED_ON = ["page", "raised", "text", "quiet", "line", "focus", "sans", "mono"];
const HOSTS_NAMES = {
  page: "--color-background-primary",
  raised: "--color-background-secondary",
  text: "--color-text-primary",
  quiet: "--color-text-secondary",
  line: "--color-border-primary",
  focus: "--color-ring-primary",
  sans: "--font-sans",
  mono: "--font-mono",
};
const view = document.getElementById("view");
const state = { arguments: {}, connected: false };

// A Report that a view cannot draw (of another version, say) is shown as it is.
function reportOf(tool, report, context) {
  const place = (content) => h("article", { class_: "report", "aria-label": plain(tool) }, content);
  try {
    return place((VIEWS[tool] || VIEWS.any)(report, context));
  } catch (error) {
    console.error(error);
    return place(VIEWS.any(report, context));
  }
}

function foot(tool) {
  return h(
    "footer",
    {},
    `optimizing-resources ${PAGE.version} \u00b7 ${tool} \u00b7 Each figure says how it is known: measured, simulated, catalog or assumed.`,
  );
}

const textOf = (result) =>
  (result.content || [])
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("\n");

function resultOf(tool, given, result) {
  if (result.isError || !result.structuredContent) {
    const title = result.isError ? "The call was declined" : "The answer";
    return h(
      "article",
      { class_: "report" },
      heading(plain(tool), title),
      h(
        "p",
        { class_: "callout", role: result.isError ? "alert" : null, style: { "white-space": "pre-wrap" } },
        textOf(result),
      ),
    );
  }
  return reportOf(tool, result.structuredContent, {
    arguments: given,
    beside: (result._meta || {})[BESIDE] || {},
    tool,
  });
}

// What a button's call gave, below what is there; the eye and the screen reader go with it.
function addReport(tool, given, result) {
  const added = resultOf(tool, given, result);
  view.querySelector(":scope > footer").before(added);
  added.querySelector("h1").focus();
  added.scrollIntoView({
    block: "start",
    behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
  });
}

const waiting = (text) => view.replaceChildren(h("p", { class_: "quiet", role: "status" }, text));

// --- the host

const pending = new Map();
let lastId = 0;
const send = (message) => window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
const notify = (method, params = {}) => send({ method, params });

function request(method, params) {
  lastId += 1;
  const id = lastId;
  return new Promise((resolve, reject) => {
    pending.set(id, { resolve, reject });
    send({ id, method, params });
  });
}

function heard(event) {
  const message = event.data;
  if (event.source !== window.parent || !message || message.jsonrpc !== "2.0") return;
  if (message.method) return message.id === undefined ? told(message.method, message.params || {}) : answered(message);
  const waiter = pending.get(message.id);
  if (!waiter) return;
  pending.delete(message.id);
  if (message.error) waiter.reject(new Error(message.error.message || "The host refused"));
  else waiter.resolve(message.result);
}

function answered({ id, method }) {
  const known_ = method === "ping" || method === "ui/resource-teardown";
  send(known_ ? { id, result: {} } : { id, error: { code: -32601, message: `Not known: ${method}` } });
}

function told(method, params) {
  if (method === "ui/notifications/tool-input") state.arguments = params.arguments || {};
  else if (method === "ui/notifications/tool-result")
    view.replaceChildren(resultOf(PAGE.tool, state.arguments, params), foot(PAGE.tool));
  else if (method === "ui/notifications/tool-cancelled")
    waiting(`The call was cancelled${params.reason ? `: ${params.reason}` : ""}.`);
  else if (method === "ui/notifications/host-context-changed") dress(params);
}

// The host's theme, and its colours where it gives the whole set (a part of one could leave text unreadable).
function dress(context) {
  const root = document.documentElement.style;
  if (context.theme) root.colorScheme = context.theme;
  const given = context.styles?.variables;
  if (given && PASSED_ON.every((name) => given[HOSTS_NAMES[name]]))
    PASSED_ON.forEach((name) => root.setProperty(`--${name}`, given[HOSTS_NAMES[name]]));
  repaint();
}

async function connect() {
  waiting("Waiting for the result\u2026");
  addEventListener("message", heard);
  const host = await request("ui/initialize", {
    appInfo: { name: "optimizing-resources", version: PAGE.version },
    appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
    protocolVersion: PROTOCOL,
  });
  const can = host.hostCapabilities || {};
  if (can.serverTools) HOST.call = callThroughHost(can);
  if (can.message) HOST.ask = (text) => request("ui/message", { role: "user", content: [{ type: "text", text }] });
  dress(host.hostContext || {});
  notify("ui/notifications/initialized");
  new ResizeObserver(() => {
    const { width, height } = document.documentElement.getBoundingClientRect();
    notify("ui/notifications/size-changed", { width: Math.ceil(width), height: Math.ceil(height) });
  }).observe(document.documentElement);
}

// The model did not see a call that a button made: it is told, where the host takes that.
function callThroughHost(can) {
  return async (tool, given) => {
    const result = await request("tools/call", { name: tool, arguments: given });
    const text = `A button in the view called ${tool} with ${JSON.stringify(given)}:\n${textOf(result)}`;
    if (can.updateModelContext)
      await request("ui/update-model-context", { content: [{ type: "text", text }] }).catch(() => {});
    return result;
  };
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
if (PAGE.report) {
  view.replaceChildren(
    reportOf(PAGE.tool, PAGE.report, { arguments: PAGE.arguments, beside: PAGE.beside, tool: PAGE.tool }),
    foot(PAGE.tool),
  );
} else if (window.parent !== window) {
  connect();
} else {
  waiting("A host fills this page with a result. From the command line, --html FILE writes one that holds it.");
}

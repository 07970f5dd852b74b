// Buttons that make the next call: through the host, or as a command to copy.
const HOST = {
  call: null, // (tool, arguments) => result, where the host passes calls on
  ask: null, // (text) => result, where the host takes messages
};

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const commandOf = (tool, given) => `optimizing-resources call ${tool} ${quoted(JSON.stringify(given))}`;

function copied(text, button) {
  const say = (done) => {
    button.textContent = done ? "Copied" : "Select and copy";
    setTimeout(() => {
      button.textContent = "Copy";
    }, 1600);
  };
  if (!navigator.clipboard) return say(false);
  return navigator.clipboard.writeText(text).then(
    () => say(true),
    () => say(false),
  );
}

function command(text) {
  const button = h(
    "button",
    { "aria-label": "Copy the command", "aria-live": "polite", onclick: () => copied(text, button) },
    "Copy",
  );
  return h("div", { class_: "command" }, h("code", {}, text), button);
}

const toCopy = (step) =>
  h(
    "details",
    { class_: "act" },
    h("summary", {}, `Command for ${step.tool}`),
    command(commandOf(step.tool, step.arguments)),
  );

// step: {tool, arguments, needs}. What it still needs is said first; such a call is asked for, not made. `sure` is what
// the button says before a second click does what cannot be taken back unseen.
function action(step, label = `Run ${step.tool}`, sure = null) {
  const needs = step.needs || [];
  const first = needs.length ? h("p", { class_: "small quiet" }, "Needs first: ", needs.join("; ")) : null;
  const place = h("div", { style: { display: "grid", gap: "8px" } });
  if (!HOST.call && !HOST.ask) return [first, toCopy(step)];
  const asks = needs.length > 0 || !HOST.call;
  if (asks && !HOST.ask) return [first, toCopy(step)];
  const words = asks ? `Ask for ${step.tool}` : label;
  const button = h(
    "button",
    {
      class_: "main",
      onclick: () => {
        if (sure && !asks && button.textContent !== sure) {
          button.textContent = sure;
          return;
        }
        made(step, button, words, place, asks);
      },
    },
    words,
  );
  return [first, h("div", { class_: "row" }, button), place];
}

async function made(step, button, words, place, asks) {
  button.disabled = true;
  button.textContent = asks ? "Asking\u2026" : `${step.tool} runs\u2026`;
  place.replaceChildren();
  try {
    if (asks) await HOST.ask(inWords(step));
    else addReport(step.tool, step.arguments, await HOST.call(step.tool, step.arguments));
  } catch (error) {
    place.replaceChildren(
      h("p", { class_: "small poor", role: "alert" }, String(error.message || error)),
      command(commandOf(step.tool, step.arguments)),
    );
  }
  button.textContent = words;
  button.disabled = false;
  if (document.activeElement === document.body) button.focus(); // a disabled button had lost it
}

function inWords({ tool, arguments: given, needs = [] }) {
  const first = needs.length ? `; first supply ${needs.join("; ")}` : "";
  return `Please call ${tool} with ${JSON.stringify(given)}${first}.`;
}

// What every page gets: print, copy, kept drafts, source panels that open where a link leads.

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

/** Copy without the clipboard API, which browsers refuse on plain HTTP. */
function copyText(text) {
  const box = document.createElement("textarea");
  box.value = text;
  box.className = "vh";
  document.body.append(box);
  box.select();
  const done = document.execCommand("copy");
  box.remove();
  return done;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const words = button.querySelector("span") ?? button;
  if (copyText(document.getElementById(button.dataset.copy).value)) {
    words.textContent = button.dataset.done;
    button.focus();
  }
});

/** Open the panel that the address points at. */
function openTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const panel = target && target.closest("details");
  if (!panel) return;
  panel.open = true;
  panel.scrollIntoView({ block: "nearest" });
}
addEventListener("hashchange", openTarget);
openTarget();

/** Make what needs scripts visible; called again for parts that arrive later. */
export function enliven(root = document) {
  for (const button of root.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
  for (const form of root.querySelectorAll("form[data-draft]")) keepDraft(form);
}

/** Keep what was typed until it is sent. */
function keepDraft(form) {
  const field = form.elements.namedItem(form.dataset.draft);
  const name = `draft:${form.action}:${field.name}`;
  if (!field.value) field.value = recall(name);
  field.addEventListener("input", () => store(name, field.value));
  form.addEventListener("submit", () => store(name, ""));
}

function recall(name) {
  try {
    return localStorage.getItem(name) ?? "";
  } catch {
    return ""; // storage is switched off
  }
}

function store(name, value) {
  try {
    if (value) localStorage.setItem(name, value);
    else localStorage.removeItem(name);
  } catch {
    // storage is switched off: nothing is kept
  }
}

enliven();

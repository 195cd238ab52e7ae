// Asking without leaving the page: the server sends pieces of the page, this puts them in their places.
import { enliven } from "./page.mjs";

let running = false;
let shown = location.pathname;

/** Put the pieces where they belong; a piece whose place is gone is dropped. */
function place(parts) {
  for (const part of parts) {
    const spot = document.getElementById(part.id);
    if (!spot) continue;
    const open = [...spot.querySelectorAll("details[open]")].map((panel) => panel.id);
    if (part.how === "add") spot.insertAdjacentHTML("beforeend", part.html);
    else if (part.how === "swap") spot.outerHTML = part.html;
    else spot.innerHTML = part.html;
    for (const id of open) {
      const panel = id && document.getElementById(id);
      if (panel) panel.open = true;
    }
  }
  enliven();
}

function say(words) {
  const region = document.getElementById("say");
  if (!region || !words) return;
  const line = document.createElement("p");
  line.textContent = words;
  region.append(line);
}

function take(event, data) {
  place(data.parts);
  say(data.say);
  if (event === "begin") {
    history.pushState(null, "", data.url);
    shown = location.pathname;
    document.title = data.title;
    document.getElementById(data.focus).focus();
    scrollTo(0, 0);
    lock(true);
  }
}

/** While an answer is made, the next question waits. */
function lock(on) {
  for (const button of document.querySelectorAll("#ask button")) button.disabled = on;
}

async function send(form, submitter) {
  running = true;
  const body = new FormData(form, submitter);
  let began = false;
  try {
    const taken = await postForEvents("/ask/stream", body, (event, data) => {
      began = true;
      take(event, data);
    });
    if (!taken) sendPlain(form, submitter);
  } catch {
    // the connection broke: the page of the conversation knows how far the answer came
    if (began) location.reload();
    else sendPlain(form, submitter);
  } finally {
    running = false;
    lock(false);
  }
}

/** Send the form as a browser without scripts would. */
function sendPlain(form, submitter) {
  if (submitter?.name) {
    const field = document.createElement("input");
    Object.assign(field, { type: "hidden", name: submitter.name, value: submitter.value });
    form.append(field);
  }
  form.submit();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("form[data-ask]") && !event.defaultPrevented) {
    event.preventDefault();
    if (!running) send(form, event.submitter);
  } else if (form.matches("form[data-stop]")) {
    event.preventDefault();
    fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual" });
    for (const button of form.querySelectorAll("button")) button.disabled = true;
  }
});

// Enter asks, Shift+Enter makes a new line; on phones the key of the keyboard does what it says
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || !event.target.matches("#ask textarea")) return;
  event.preventDefault();
  if (!running) event.target.form.requestSubmit();
});

// back and forward between conversations; jumps within a page are none
addEventListener("popstate", () => {
  if (location.pathname !== shown) location.reload();
});

/**
 * Post a form and call `take(event, data)` for each event.
 * @returns {Promise<boolean>} false when the server answered with something else
 */
async function postForEvents(url, form, take, signal) {
  const reply = await fetch(url, {
    method: "POST",
    body: new URLSearchParams(form),
    headers: { Accept: "text/event-stream" },
    signal,
  });
  if (!reply.ok || !(reply.headers.get("Content-Type") ?? "").startsWith("text/event-stream")) return false;
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return true;
    pending += value;
    const blocks = pending.split("\n\n");
    pending = blocks.pop();
    for (const block of blocks) readBlock(block, take);
  }
}

function readBlock(block, take) {
  let event = "message";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) event = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (data) take(event, JSON.parse(data));
}

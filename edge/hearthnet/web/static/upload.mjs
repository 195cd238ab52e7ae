// Sending files with progress, and a list that follows the reading of what was sent.

const list = document.getElementById("documents");

/** Fetch the list anew while something is being read; slower while it is only getting better. */
async function follow() {
  for (;;) {
    const busy = list.querySelector("[data-busy]").dataset.busy;
    if (busy === "no") return;
    await new Promise((resolve) => setTimeout(resolve, busy === "reading" ? 2000 : 10000));
    if (document.hidden) continue;
    const reply = await fetch(list.dataset.refresh).catch(() => null);
    if (!reply?.ok || list.contains(document.activeElement)) continue;
    const html = await reply.text();
    if (html !== list.innerHTML) list.innerHTML = html;
  }
}

function send(form) {
  const [bar, words] = [form.querySelector("progress"), form.querySelector("[data-sent]")];
  const [box, failed, button] = [form.querySelector("[data-progress]"), form.querySelector("[data-failed]"), form.querySelector("button")];
  const request = new XMLHttpRequest();
  const size = new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 });
  request.upload.addEventListener("progress", (event) => {
    if (!event.lengthComputable) return;
    bar.value = event.loaded / event.total;
    words.textContent = words.dataset.template
      .replace("{done}", size.format(event.loaded / 1e6))
      .replace("{total}", size.format(event.total / 1e6));
  });
  request.addEventListener("load", () => {
    if (request.status < 400) {
      location.assign(request.responseURL);
      return;
    }
    // the server says what is wrong on a page of its own
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    document.querySelector("main").replaceChildren(...page.querySelector("main").childNodes);
    scrollTo(0, 0);
  });
  const broken = () => {
    [failed.hidden, box.hidden, button.disabled] = [false, true, false];
  };
  request.addEventListener("error", broken);
  request.addEventListener("abort", broken);
  request.open("POST", form.action);
  request.send(new FormData(form));
  [box.hidden, failed.hidden, button.disabled] = [false, true, true];
}

for (const form of document.querySelectorAll("form[data-upload]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}
follow();

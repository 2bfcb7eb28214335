"use strict";

// Keeps what is marked `data-live` up to date, and shows times as the reader's clock has them.
const INTERVAL = 2000;
const shown = new Map();

function showLocalTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    const today = moment.toDateString() === new Date().toDateString();
    const short = today && !("full" in element.dataset);
    element.textContent = short ? moment.toLocaleTimeString() : moment.toLocaleString();
  }
}

function replace(region, fresh) {
  if (shown.get(region.id) === fresh.innerHTML) return;
  shown.set(region.id, fresh.innerHTML);
  const focused = region.contains(document.activeElement) ? document.activeElement.id : "";
  region.replaceChildren(...fresh.cloneNode(true).childNodes);
  showLocalTimes(region);
  if (focused) document.getElementById(focused)?.focus();
}

function followSwitch(select, fresh) {
  // Not under the reader's hands: a choice that is not sent yet stays.
  if (select.form.contains(document.activeElement) || "touched" in select.dataset) return;
  select.value = fresh.value;
}

async function refresh() {
  if (document.hidden) return;
  const offline = document.getElementById("offline");
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const region of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(region.id);
      if (fresh) replace(region, fresh);
    }
    for (const select of document.querySelectorAll("[data-mode-of]")) {
      const fresh = page.getElementById(select.id);
      if (fresh) followSwitch(select, fresh);
    }
    offline.hidden = true;
  } catch {
    offline.hidden = false;
  }
}

showLocalTimes(document);
if (document.querySelector("[data-live]")) {
  for (const region of document.querySelectorAll("[data-live]")) shown.set(region.id, "");
  for (const select of document.querySelectorAll("[data-mode-of]")) {
    select.addEventListener("change", () => { select.dataset.touched = ""; });
  }
  document.addEventListener("visibilitychange", refresh);
  setInterval(refresh, INTERVAL);
}

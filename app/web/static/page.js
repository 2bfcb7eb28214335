// What every page gains from scripts: fresh relative times, forms that are sent once, copy buttons.
(() => {
  "use strict";
  const UNITS = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const ahead = Number(document.documentElement.dataset.now) - Date.now();

  // The same rules as in rendering.py, which writes these texts first.
  function relative(at) {
    const seconds = Math.round((at - (Date.now() + ahead)) / 1000);
    const [size, unit] = UNITS.find(([size]) => Math.abs(seconds) >= size) ?? [1, "second"];
    const count = Math.floor(Math.abs(seconds) / size);
    if (count === 0) return "just now";
    const text = `${count} ${unit}${count === 1 ? "" : "s"}`;
    return seconds > 0 ? `in ${text}` : `${text} ago`;
  }

  function refreshTimes() {
    for (const time of document.querySelectorAll("time[data-relative]")) {
      const text = relative(Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  }
  setInterval(refreshTimes, 1000);

  for (const form of document.querySelectorAll("form[data-send-once]")) {
    const button = form.querySelector("button");
    const label = button.textContent;
    form.addEventListener("submit", () => {
      button.disabled = true;
      button.textContent = button.dataset.busy;
    });
    // The page may come back from the browser's history as it was left.
    window.addEventListener("pageshow", (event) => {
      if (!event.persisted) return;
      button.disabled = false;
      button.textContent = label;
    });
  }

  for (const form of document.querySelectorAll("form[data-filter]")) {
    form.querySelector("button").hidden = true;
    form.addEventListener("change", () => form.requestSubmit());
  }

  for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
  }
})();

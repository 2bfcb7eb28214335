// Follows the fate of a message until it has ended: often at first, seldom when nothing happens.
(() => {
  "use strict";
  const SHORTEST = 600;
  const LONGEST = 5000;
  const LONGEST_AWAY = 30000;
  const place = document.querySelector("[data-follow]");
  const note = document.querySelector("[data-follow-note]");
  const news = document.querySelector("[data-follow-news]");
  let etag = null;
  let pause = SHORTEST;
  let failures = 0;
  let timer = null;

  const fate = () => place.querySelector("[data-news]");
  const ended = () => fate().hasAttribute("data-ended");

  function say(text) {
    if (note.textContent !== text) note.textContent = text;
  }

  function later(milliseconds) {
    clearTimeout(timer);
    timer = document.hidden ? null : setTimeout(look, milliseconds);
  }

  async function look() {
    let response;
    try {
      response = await fetch(place.dataset.follow, {
        cache: "no-store",
        redirect: "manual",
        headers: { Accept: "text/html", ...(etag && { "If-None-Match": etag }) },
        signal: AbortSignal.timeout(10000),
      });
      if (response.status >= 500 || response.status === 429) throw new Error("away");
      if (response.status === 200) show(await response.text(), response.headers.get("ETag"));
    } catch {
      failures += 1;
      pause = SHORTEST;
      const wait = Math.min(1000 * 2 ** failures, LONGEST_AWAY);
      say("The server does not answer at the moment. This page keeps trying.");
      later(wait);
      return;
    }
    failures = 0;
    if (response.type === "opaqueredirect") {
      say("You are not logged in any more. Reload the page to log in and see what became of it.");
    } else if (response.status === 404) {
      say("This message is no longer kept.");
    } else if (ended()) {
      say("");
    } else {
      say("This page follows the message live.");
      pause = Math.min(pause * 1.25, LONGEST);
      later(pause);
    }
  }

  function show(html, newEtag) {
    const before = fate().dataset.news;
    const earlier = place.querySelector("details");
    const hadFocus = place.contains(document.activeElement);
    place.innerHTML = html;
    if (earlier?.open) place.querySelector("details").open = true;
    if (hadFocus) place.querySelector("summary")?.focus();
    etag = newEtag;
    pause = SHORTEST / 1.25;
    if (fate().dataset.news !== before) news.textContent = fate().dataset.news;
  }

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !ended()) later(0);
  });
  if (!ended()) {
    say("This page follows the message live.");
    later(SHORTEST);
  }
})();

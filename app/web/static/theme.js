// Light or dark, before the page is painted: as the person chose here, else as the system is set.
(() => {
  "use strict";
  const KEY = "steadpost-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const themeOfSystem = () => (system.matches ? "dark" : "light");

  function chosen() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  }

  function choose(theme) {
    try {
      // Whoever goes back to what the system says follows the system again.
      if (theme === themeOfSystem()) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme);
    } catch {
      // Without storage, the choice holds for this page.
    }
    apply(theme);
  }

  function apply(theme) {
    document.documentElement.dataset.bsTheme = theme;
    const label = document.querySelector("[data-theme-label]");
    if (label) label.textContent = theme === "dark" ? "Light theme" : "Dark theme";
  }

  apply(chosen() ?? themeOfSystem());
  system.addEventListener("change", () => apply(chosen() ?? themeOfSystem()));

  document.addEventListener("DOMContentLoaded", () => {
    const toggle = document.querySelector("[data-theme-toggle]");
    toggle.hidden = false;
    toggle.addEventListener("click", () =>
      choose(document.documentElement.dataset.bsTheme === "dark" ? "light" : "dark"),
    );
    apply(document.documentElement.dataset.bsTheme);
  });
})();

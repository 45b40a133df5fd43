"use strict";
{
  const highlighted = new Set();

  const applyHighlight = async () => {
    const names = [...highlighted];
    for (const view of await window.drawings) {
      if (view.getState().signals.highlight !== undefined) view.signal("highlight", names).runAsync();
    }
  };

  for (const button of document.querySelectorAll("[data-highlight]")) {
    button.addEventListener("click", () => {
      const name = button.dataset.highlight;
      const chosen = !highlighted.delete(name);
      if (chosen) highlighted.add(name);
      button.setAttribute("aria-pressed", String(chosen));
      applyHighlight();
    });
  }

  const panels = document.querySelectorAll("[data-panel]");
  const showPanel = (chosen) => {
    for (const panel of panels) panel.hidden = panel.dataset.panel !== chosen;
  };
  for (const radio of document.querySelectorAll(".picker input")) {
    radio.addEventListener("change", () => showPanel(radio.value));
    if (radio.checked) showPanel(radio.value);
  }
}

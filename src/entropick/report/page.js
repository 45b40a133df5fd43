"use strict";
{
  const highlighted = new Set();
  const views = [];

  const applyHighlight = () => {
    const names = [...highlighted];
    for (const view of views) view.signal("highlight", names).runAsync();
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

  // "ast" evaluates expressions without new Function, so that the page's policy need not allow it.
  const options = {
    ast: true,
    actions: false,
    renderer: "svg",
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  };
  const draw = async () => {
    const specs = JSON.parse(document.getElementById("specs").textContent);
    for (const place of document.querySelectorAll("[data-spec]")) {
      const { view } = await vegaEmbed(place, specs[Number(place.dataset.spec)], options);
      if (view.getState().signals.highlight !== undefined) views.push(view);
    }
    applyHighlight();
    document.documentElement.dataset.drawn = "true";
  };
  draw();
}

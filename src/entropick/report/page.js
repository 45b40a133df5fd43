"use strict";
{
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.dataset.scripted = "true";

  // What is chosen: the labels that stand out, the size, the measures, the arm and the iteration of the images.
  const highlighted = new Set();
  const highlight = (view) => view.signal("highlight", [...highlighted]).runAsync();
  const isOfArms = (view) => view.getState().signals.highlight !== undefined;
  charts.onDrawn((view) => highlighted.size > 0 && isOfArms(view) && highlight(view));

  for (const button of all("[data-highlight]")) {
    button.addEventListener("click", () => {
      const label = button.dataset.highlight;
      const chosen = !highlighted.delete(label);
      if (chosen) highlighted.add(label);
      button.setAttribute("aria-pressed", String(chosen));
      charts.views().filter(isOfArms).forEach(highlight);
    });
  }

  const chosen = (name) => document.querySelector(`input[name="${name}"]:checked`)?.value;
  const measures = () => new Set(all(".measures input:checked").map((box) => box.value));
  const slider = document.getElementById("iteration");

  const show = () => {
    const size = chosen("size");
    const arm = chosen("arm");
    const shown = measures();
    const hasMeasures = document.querySelector(".measures") !== null;
    for (const part of all("[data-size], [data-measure], [data-panel]")) {
      const { size: ofSize, measure, panel } = part.dataset;
      part.hidden =
        (size !== undefined && ofSize !== undefined && ofSize !== size) ||
        (hasMeasures && measure !== undefined && !shown.has(measure)) ||
        (arm !== undefined && panel !== undefined && panel !== arm);
    }
    showFrame();
    charts.drawShown();
  };

  const showFrame = () => {
    const images = all("[data-panel]").find((part) => !part.hidden);
    if (!slider || !images) return;
    const frames = all("[data-frame]", images);
    const numbers = frames.map((frame) => Number(frame.dataset.frame));
    slider.max = Math.max(...numbers);
    const wanted = Number(slider.value);
    for (const frame of frames) frame.hidden = Number(frame.dataset.frame) !== wanted;
    for (const output of all("#iteration-shown")) output.textContent = wanted === 0 ? "0, the real data" : String(wanted);
  };

  for (const input of all(".picker input")) input.addEventListener("change", show);
  slider?.addEventListener("input", showFrame);
  if (slider) {
    slider.max = Math.max(...all("[data-frame]").map((frame) => Number(frame.dataset.frame)));
    slider.value = slider.max;
  }
  show();
}

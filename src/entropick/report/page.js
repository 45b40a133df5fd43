"use strict";
{
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.dataset.scripted = "true";

  // What is chosen: the labels that stand out, the size, the measures, the arm and the iteration of the images.
  const highlighted = new Set();
  const views = [];

  for (const button of all("[data-highlight]")) {
    button.addEventListener("click", () => {
      const label = button.dataset.highlight;
      const chosen = !highlighted.delete(label);
      if (chosen) highlighted.add(label);
      button.setAttribute("aria-pressed", String(chosen));
      for (const view of views) view.signal("highlight", [...highlighted]).runAsync();
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

  // "ast" evaluates expressions without new Function, so that the page's policy need not allow it.
  const options = {
    ast: true,
    actions: false,
    renderer: "svg",
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  };
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const waiting = new Set(all("[data-spec]"));

  const draw = async (place) => {
    if (!waiting.delete(place)) return;
    const { view } = await vegaEmbed(place, specs[Number(place.dataset.spec)], options);
    if (view.getState().signals.highlight !== undefined) {
      views.push(view);
      if (highlighted.size > 0) await view.signal("highlight", [...highlighted]).runAsync();
    }
  };

  // First what is in sight, then, while nothing else happens, what could be scrolled to or printed.
  const isShown = (place) => place.offsetParent !== null;
  const isInSight = (place) => isShown(place) && place.getBoundingClientRect().top < 2 * window.innerHeight;
  const rest = async () => {
    const place = [...waiting].find(isShown);
    if (place) {
      await draw(place);
      later(rest);
    } else {
      document.documentElement.dataset.complete = "true";
    }
  };
  const later = (task) => (window.requestIdleCallback ?? ((run) => setTimeout(run, 20)))(() => task());
  const drawAll = async () => {
    await Promise.all(all("[data-spec]").filter(isInSight).map(draw));
    document.documentElement.dataset.drawn = "true";
    later(rest);
  };
  for (const input of all(".picker input")) input.addEventListener("change", () => later(rest));
  if (typeof IntersectionObserver === "function") {
    const near = new IntersectionObserver(
      (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
      { rootMargin: "50%" },
    );
    for (const place of waiting) near.observe(place);
  }
  drawAll();
}

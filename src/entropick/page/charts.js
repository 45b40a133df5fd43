"use strict";
// Draws what is in sight first, then, one by one, what else is shown; what is hidden waits until it is not.
const charts = (() => {
  // "ast" evaluates expressions without new Function, so that the page's policy need not allow it.
  const options = {
    ast: true,
    actions: false,
    renderer: "svg",
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  };
  const told = document.documentElement.dataset;
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const waiting = new Set(document.querySelectorAll("[data-spec]"));
  const views = [];
  const listeners = [];
  let isDrawing = false;

  const isShown = (place) => place.offsetParent !== null;
  const isInSight = (place) => place.getBoundingClientRect().top < 1.5 * window.innerHeight;

  const draw = async (place) => {
    waiting.delete(place);
    const { view } = await vegaEmbed(place, specs[Number(place.dataset.spec)], options);
    views.push(view);
    for (const listener of listeners) await listener(view);
  };

  const drawShown = async () => {
    if (isDrawing) return;
    isDrawing = true;
    for (;;) {
      const shown = [...waiting].filter(isShown);
      const next = shown.find(isInSight) ?? shown[0];
      if (next === undefined || !isInSight(next)) told.drawn = "true";
      if (next === undefined) break;
      await draw(next);
      // Between two drawings the page can be scrolled and used.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    told.complete = "true";
    isDrawing = false;
  };

  // After the page's own script has hidden what is not to be seen.
  setTimeout(drawShown, 0);
  return { drawShown, views: () => views, onDrawn: (listener) => listeners.push(listener) };
})();
// What is wider than its place says that it scrolls: on a phone no bar shows it.
{
  const tell = (entries) => {
    for (const { target } of entries) target.toggleAttribute("data-scrolls", target.scrollWidth > target.clientWidth + 1);
  };
  const watched = new ResizeObserver(tell);
  for (const place of document.querySelectorAll(".scroll")) watched.observe(place);
}

"use strict";
{
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
    const views = [];
    for (const place of document.querySelectorAll("[data-spec]")) {
      const { view } = await vegaEmbed(place, specs[Number(place.dataset.spec)], options);
      views.push(view);
    }
    document.documentElement.dataset.drawn = "true";
    return views;
  };
  // The views of all drawings, for the page's own script.
  window.drawings = draw();
}

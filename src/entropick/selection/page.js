"use strict";
{
  document.documentElement.dataset.scripted = "true";
  for (const strip of document.querySelectorAll("[data-strip]")) {
    const slider = strip.querySelector("input[type=range]");
    if (!slider) continue;
    const frames = [...strip.querySelectorAll("[data-frame]")];
    const told = strip.querySelector("output");
    const show = () => {
      for (const frame of frames) frame.hidden = frame.dataset.frame !== slider.value;
      told.textContent = frames[Number(slider.value)].dataset.title;
      slider.setAttribute("aria-valuetext", told.textContent);
    };
    slider.closest(".slider").hidden = false;
    slider.addEventListener("input", show);
    slider.value = 0;
    show();
  }
}

// The current hour: its numbers as the stream tells them, and how much of it is over.

import { NOTHING, valueOf, write } from "./numbers.js";

export function createNow({ card, span, elapsed, progress }) {
  const places = card.querySelectorAll("[data-now]");

  function animate(place) {
    // The animation restarts only if styles were computed without the class.
    place.classList.remove("has-changed");
    void place.offsetWidth;
    place.classList.add("has-changed");
  }

  return {
    show(counts) {
      for (const place of places) {
        const series = place.dataset.now;
        const text = write(series, valueOf(series, counts));
        if (place.textContent === text) continue;
        if (place.textContent !== NOTHING) animate(place);
        place.textContent = text;
      }
    },
    /** Which hour it is. */
    tick(hour, calendar) {
      const minutes = Math.min(60, Math.max(0, Math.floor((Date.now() - hour) / 60_000)));
      span.textContent = calendar.span(hour);
      elapsed.textContent = `${minutes} of 60 minutes`;
      progress.value = minutes;
    },
    clear() {
      for (const place of places) place.textContent = NOTHING;
    },
  };
}

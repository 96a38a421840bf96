// What a period says, beside the pointer.

import { valueOf, write } from "./numbers.js";

const NAMES = { unique_users: "Unique users", clicks: "Clicks", impressions: "Impressions", rate: "Click-through rate" };
const GAP = 14;

/** A tooltip within an element that it stays inside of. Whoever uses a screen reader hears the same otherwise. */
export function createTooltip(element) {
  const box = document.createElement("div");
  box.className = "tooltip";
  box.hidden = true;
  box.setAttribute("aria-hidden", "true");
  element.append(box);

  const cell = (text, className = "") => Object.assign(document.createElement("span"), { textContent: text, className });

  return {
    /** `earlier` is the period behind it, or null. */
    write(label, period, earlier) {
      const head = Object.assign(document.createElement("strong"), { textContent: label });
      const rows = Object.entries(NAMES).flatMap(([series, name]) => [
        cell(name, "name"),
        cell(write(series, valueOf(series, period)), "value"),
        ...(earlier ? [cell(write(series, valueOf(series, earlier)), "earlier")] : []),
      ]);
      const numbers = document.createElement("div");
      numbers.className = earlier ? "compared" : "";
      numbers.append(...(earlier ? [cell(""), cell(""), cell("before", "earlier")] : []), ...rows);
      box.replaceChildren(head, numbers);
      box.hidden = false;
    },
    /** At a point of the element, on the side that has more room. */
    place(left, top) {
      const isRight = left > element.clientWidth / 2;
      const x = isRight ? left - GAP - box.offsetWidth : left + GAP;
      box.style.left = `${Math.max(0, Math.min(x, element.clientWidth - box.offsetWidth))}px`;
      box.style.top = `${Math.max(0, Math.min(top + GAP, element.clientHeight - box.offsetHeight))}px`;
    },
    hide() {
      box.hidden = true;
    },
  };
}

// The numbers of the whole range, and how they changed against the time before.

import { change } from "./compare.js";
import { NOTHING, rateOf, valueOf, write } from "./numbers.js";
import { HOUR } from "./time.js";

const MOST_NAMED = 3;
const DIRECTIONS = [["▼ ", "down "], ["", ""], ["▲ ", "up "]];

const element = (name, properties, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

/** Hours that follow one another as ranges. */
function ranges(hours) {
  const found = [];
  for (const hour of hours) {
    if (found.at(-1)?.to === hour - HOUR) found.at(-1).to = hour;
    else found.push({ from: hour, to: hour });
  }
  return found;
}

export function createHeadlines({ list, comparison, unknown, highRate }) {
  const changes = list.querySelectorAll("[data-change]");

  function writeChange(place, series, before, totals) {
    const changed = before && change(series, before, totals);
    place.replaceChildren();
    delete place.dataset.direction;
    if (!changed) return;
    place.dataset.direction = changed.direction;
    const [mark, word] = DIRECTIONS[changed.direction + 1];
    const sign = element("span", {}, mark);
    sign.setAttribute("aria-hidden", "true");
    place.append(element("span", { className: "by" }, sign, element("span", { className: "hidden" }, word), changed.text), " ", element("small", {}, changed.was));
  }

  function sayCompared({ before, calendar }) {
    comparison.hidden = before === null;
    if (before === null) return;
    const { from, to, isOpen } = before;
    const end = to + (Date.now() % HOUR);
    comparison.querySelector("span").textContent = isOpen
      ? `Compared with ${calendar.moment(from)} – ${calendar.moment(end)}. Whole hours are counted, so what came by ${calendar.time(end)} lies between two numbers.`
      : `Compared with ${calendar.range({ from, to })}.`;
  }

  function sayUnknown({ unknownIn, calendar }) {
    unknown.hidden = unknownIn.length === 0;
    if (unknown.hidden) return;
    const found = ranges(unknownIn);
    const named = found.slice(0, MOST_NAMED).map(calendar.range).join("; ");
    const more = found.length > MOST_NAMED ? "; and others" : "";
    const hours = unknownIn.length === 1 ? "an hour" : `${unknownIn.length} hours`;
    unknown.replaceChildren(
      `The unique users of this range are not known, because who came was not kept in ${hours} (${named}${more}). `,
      element("code", {}, "analytics-cli backfill"),
      " finds that out from the raw events, where they are still stored.",
    );
  }

  return {
    /** `before` is null while or where there is nothing to compare with: { from, to, over, whole: totals as for compare.js, isOpen }. */
    show({ totals, periods, unknownIn, before, calendar }) {
      for (const place of list.querySelectorAll("[data-total]")) place.textContent = write(place.dataset.total, valueOf(place.dataset.total, totals));
      for (const place of changes) writeChange(place, place.dataset.change, before, totals);
      sayCompared({ before, calendar });
      sayUnknown({ unknownIn, calendar });
      highRate.hidden = ![totals, ...periods].some((counts) => rateOf(counts) > 1);
    },
    clear() {
      for (const place of list.querySelectorAll("[data-total]")) place.textContent = NOTHING;
      for (const place of changes) place.replaceChildren();
      comparison.hidden = unknown.hidden = highRate.hidden = true;
    },
  };
}

/** The numbers of a range in a sentence. */
export const sentenceOf = (totals) =>
  `${write("unique_users", totals.unique_users)} unique users, ${write("clicks", totals.clicks)} clicks, ${write("impressions", totals.impressions)} impressions, click-through rate ${write("rate", rateOf(totals))}`;

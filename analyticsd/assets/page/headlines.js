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

/** The time before ends at the minute of its last hour that it is now. */
const endOf = ({ to }) => to + (Date.now() % HOUR);

/** What the numbers are compared with, as the beginning of a sentence. */
export function comparedWith(before, calendar) {
  return `Compared with ${before.isOpen ? `${calendar.moment(before.from)} – ${calendar.moment(endOf(before))}` : calendar.range(before)}`;
}

/** Hours that follow one another as ranges. */
function ranges(hours) {
  const found = [];
  for (const hour of hours) {
    if (found.at(-1)?.to === hour - HOUR) found.at(-1).to = hour;
    else found.push({ from: hour, to: hour });
  }
  return found;
}

export function createHeadlines({ list, comparison, unknown }) {
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
    place.append(element("span", { className: "by" }, sign, element("span", { className: "hidden" }, word), changed.text), " ", element("small", {}, changed.from));
  }

  function sayCompared({ before, calendar }) {
    comparison.hidden = !before;
    if (!before) return;
    const why = before.isOpen ? ` Counts are kept by the hour, so the number at ${calendar.time(endOf(before))} is known only as a range.` : "";
    comparison.querySelector("span").textContent = `${comparedWith(before, calendar)}.${why}`;
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
    /** `before` is undefined while it is not known, and null where there is nothing to compare with: { from, to, over, whole: totals as for compare.js, isOpen }. */
    show({ totals, unknownIn, before, calendar }) {
      list.classList.toggle("is-alone", before === null);
      for (const place of list.querySelectorAll("[data-total]")) place.textContent = write(place.dataset.total, valueOf(place.dataset.total, totals));
      for (const place of changes) writeChange(place, place.dataset.change, before, totals);
      sayCompared({ before, calendar });
      sayUnknown({ unknownIn, calendar });
    },
    clear() {
      for (const place of list.querySelectorAll("[data-total]")) place.textContent = NOTHING;
      for (const place of changes) place.replaceChildren();
      list.classList.add("is-alone");
      comparison.hidden = unknown.hidden = true;
    },
  };
}

/** The numbers of a range in a sentence. */
export const sentenceOf = (totals) =>
  `${write("unique_users", totals.unique_users)} unique users, ${write("clicks", totals.clicks)} clicks, ${write("impressions", totals.impressions)} impressions, click-through rate ${write("rate", rateOf(totals))}`;

// Which hours a range has, the steps that it is drawn in, and the range that it is compared with.

import { DAY, HOUR } from "./time.js";

/** The ranges with a button, and how a sentence calls them. */
export const PRESETS = {
  today: "today",
  yesterday: "yesterday",
  "24h": "these 24 hours",
  "7d": "these 7 days",
  "30d": "these 30 days",
  month: "this month",
  all: "all time",
};

export const nameOf = (range) => PRESETS[range] ?? "this range";

/** How long a step is about, and the longest range that is drawn in it. */
const STEPS = [
  ["hour", HOUR, 7 * DAY + HOUR],
  ["day", DAY, 93 * DAY],
  ["week", 7 * DAY, 732 * DAY],
  ["month", 30 * DAY, Infinity],
];
/** What a bar needs with its gap, in pixels. */
export const NARROWEST = 4;
/** Longer ranges have nothing of their length before them that is worth a comparison. */
const LONGEST_COMPARED = 732 * DAY;

const lengthOf = ({ from, to }) => to - from + HOUR;

/** The first and the last hour of a range. `stored` are those of the site that have events, or null. */
export function hoursOf(range, currentHour, calendar, stored) {
  const day = (shift) => calendar.startOf("day", currentHour, shift);
  const until = (from) => ({ from, to: currentHour });
  switch (range) {
    case "today": return until(day(0));
    case "yesterday": return { from: day(-1), to: day(0) - HOUR };
    case "24h": return until(currentHour - 23 * HOUR);
    case "7d": return until(day(-6));
    case "30d": return until(day(-29));
    case "month": return until(calendar.startOf("month", currentHour));
    case "all": return stored ? { from: calendar.startOf("day", stored.first), to: Math.max(currentHour, stored.last) } : until(day(0));
    default: return range;
  }
}

/** The finest step that a range of this length may have, and whose bars are wide enough. */
export function stepOf(range, width) {
  const length = lengthOf(range);
  const fits = STEPS.find(([, step, longest]) => length <= longest && width >= NARROWEST * (length / step));
  return fits ? fits[0] : "month";
}

/**
 * What a range is compared with, or null: as much time before it, as far as the range is over. One of days is shifted
 * by whole days, and a long one by whole weeks, so that the same hours and days meet.
 */
export function before(range, currentHour, calendar) {
  const { from } = range;
  const to = Math.min(range.to, currentHour);
  if (to < from || lengthOf(range) > LONGEST_COMPARED) return null;
  let shift = (instant) => instant - lengthOf({ from, to });
  const isOfDays = calendar.startOf("day", from) === from && (to === currentHour || calendar.startOf("day", to + HOUR) === to + HOUR);
  if (isOfDays) {
    const touched = Math.round((calendar.startOf("day", to) - from) / DAY) + 1;
    const days = touched > 93 ? Math.ceil(touched / 7) * 7 : touched;
    shift = (instant) => {
      const midnight = calendar.startOf("day", instant);
      return calendar.startOf("day", instant, -days) + (instant - midnight);
    };
  }
  const earlier = { from: shift(from), to: shift(to) };
  // There are no events before 1970.
  return earlier.from < 0 ? null : earlier;
}

/** Where the newest events are: the days up to theirs. */
export const newest = (stored, calendar) => ({
  from: Math.max(calendar.startOf("day", stored.last, -6), calendar.startOf("day", stored.first)),
  to: calendar.startOf("day", stored.last, 1) - HOUR,
});

// How a number changed against the time before.

import { rateOf, valueOf, write, writePoints, writeShare } from "./numbers.js";

/**
 * The numbers of a series between which that of the time before lies, as [least, most], or null where they are not known. Both
 * sides end at the same instant. Within the current hour that instant lies within an hour of the time before, of which only
 * the whole is counted: so its number lies between that without this hour (`over`) and that with it (`whole`).
 */
export function bounds(series, { over, whole }) {
  if (series !== "rate") {
    const [least, most] = [over[series], whole[series]];
    return least === null || most === null ? null : [least, most];
  }
  if (over === whole) return rateOf(whole) === null ? null : [rateOf(whole), rateOf(whole)];
  const most = rateOf({ clicks: whole.clicks, impressions: over.impressions });
  return most === null ? null : [over.clicks / whole.impressions, most];
}

/** A direction (1, 0 or -1), by how much at least, and from what; null where there is nothing to compare. */
export function change(series, before, totals) {
  const between = bounds(series, before);
  const now = valueOf(series, totals);
  if (between === null || now === null || (now === 0 && between[1] === 0)) return null;
  const [least, most] = between;
  const isExact = least === most;
  const near = Math.min(Math.max(now, least), most);
  const direction = Math.sign(now - near);
  const [low, high] = between.map((bound) => write(series, bound));
  const was = low === high ? high : `${low}–${high}`;
  return { direction, text: textOf(series, near, now, direction, isExact), from: direction === 0 && !isExact ? `as ${was}` : `from ${was}` };
}

function textOf(series, near, now, direction, isExact) {
  if (direction === 0) return isExact ? "unchanged" : "about the same";
  // Nothing has no per cent.
  if (near === 0 && series !== "rate") return "";
  const by = series === "rate" ? `${writePoints(Math.abs(now - near) * 100)} points` : writeShare(Math.abs(now - near) / near);
  return isExact ? by : `at least ${by}`;
}

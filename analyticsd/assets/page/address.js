// What is looked at stands in the address, so that a view can be sent to somebody.

import { HOUR, asApi, hourOf } from "./time.js";

/** The ranges that end with the current hour, in hours. */
export const PRESETS = { "24h": 24, "7d": 168, "30d": 720 };

const DEFAULT_RANGE = "24h";

/** A view is { range: a name in PRESETS, or { from, to }, zone: "utc" or "local" }. What is not understood is as if it were not there. */
export function readView(search) {
  const given = new URLSearchParams(search);
  const zone = given.get("zone") === "local" ? "local" : "utc";
  const [from, to] = ["from", "to"].map((name) => hourOf(Date.parse(given.get(name))));
  if (!Number.isNaN(from) && !Number.isNaN(to)) return { range: { from, to }, zone };
  const range = given.get("range");
  return { range: Object.hasOwn(PRESETS, range) ? range : DEFAULT_RANGE, zone };
}

export function writeView({ range, zone }) {
  const said = new URLSearchParams();
  if (typeof range !== "string") {
    said.set("from", asApi(range.from));
    said.set("to", asApi(range.to));
  } else if (range !== DEFAULT_RANGE) {
    said.set("range", range);
  }
  if (zone !== "utc") said.set("zone", zone);
  // Colons may stand in a query, and are easier on the eye than %3A.
  const query = said.toString().replaceAll("%3A", ":");
  return query ? `?${query}` : location.pathname;
}

/** The first and the last hour of a range. */
export function hoursOf(range, currentHour) {
  if (typeof range !== "string") return range;
  return { from: currentHour - (PRESETS[range] - 1) * HOUR, to: currentHour };
}

export const lengthOf = ({ from, to }) => (to - from) / HOUR + 1;

/** As many hours, just before. */
export const before = ({ from, to }) => ({ from: from - lengthOf({ from, to }) * HOUR, to: from - HOUR });

/** How a range is called in a sentence. */
export function nameOf(range) {
  return { "24h": "these 24 hours", "7d": "these 7 days", "30d": "these 30 days" }[range] ?? "this range";
}

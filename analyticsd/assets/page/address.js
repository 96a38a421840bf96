// The address contains the view, so that it can be shared.

import { share } from "./daemon.js";
import { HOUR, asApi, hourOf } from "./time.js";

/** The ranges that end with the current hour, in hours. */
export const PRESETS = { "24h": 24, "7d": 168, "30d": 720 };

const DEFAULT_RANGE = "24h";
const SITE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/**
 * A view is { range: a name in PRESETS, or { from, to }, zone: "utc" or "local", site: a name, or null for the one that needs
 * none }. Unknown values are ignored.
 */
export function readView(search) {
  const given = new URLSearchParams(search);
  const zone = given.get("zone") === "local" ? "local" : "utc";
  const name = given.get("site");
  const site = SITE.test(name) ? name : null;
  const [from, to] = ["from", "to"].map((name) => hourOf(Date.parse(given.get(name))));
  if (!Number.isNaN(from) && !Number.isNaN(to)) return { range: { from, to }, zone, site };
  const range = given.get("range");
  return { range: Object.hasOwn(PRESETS, range) ? range : DEFAULT_RANGE, zone, site };
}

export function writeView({ range, zone, site }) {
  const fields = new URLSearchParams();
  if (share !== null) fields.set("share", share);
  if (site !== null) fields.set("site", site);
  if (typeof range !== "string") {
    fields.set("from", asApi(range.from));
    fields.set("to", asApi(range.to));
  } else if (range !== DEFAULT_RANGE) {
    fields.set("range", range);
  }
  if (zone !== "utc") fields.set("zone", zone);
  // Colons are allowed in a query, and are easier to read than %3A.
  const query = fields.toString().replaceAll("%3A", ":");
  return query ? `?${query}` : location.pathname;
}

/** The first and the last hour of a range. */
export function hoursOf(range, currentHour) {
  if (typeof range !== "string") return range;
  return { from: currentHour - (PRESETS[range] - 1) * HOUR, to: currentHour };
}

export const lengthOf = ({ from, to }) => (to - from) / HOUR + 1;

/** As many hours, right before. */
export const before = ({ from, to }) => ({ from: from - lengthOf({ from, to }) * HOUR, to: from - HOUR });

/** The name of a range in a sentence. */
export function nameOf(range) {
  return { "24h": "these 24 hours", "7d": "these 7 days", "30d": "these 30 days" }[range] ?? "this range";
}

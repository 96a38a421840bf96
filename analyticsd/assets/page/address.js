// The address contains the view, so that it can be shared.

import { share } from "./daemon.js";
import { PRESETS } from "./range.js";
import { HOUR, asApi, calendar as createCalendar, hourOf } from "./time.js";

const DEFAULT_RANGE = "24h";
const SITE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const MOMENT = /^\d{4}-\d\d-\d\d(?<time>T\d\d:\d\d(:\d\d)?(?<offset>Z|[+-]\d\d:\d\d)?)?$/;

/**
 * A view is { range: a name in PRESETS, or { from, to }, zone: "utc" or "local", site: a name, or null for the one that needs
 * none, isMisread: whether the address names another range than those that there are }. Its dates are days of the zone, or of UTC
 * where `isLocalRefused`.
 */
export function readView(search, isLocalRefused = false) {
  const given = new URLSearchParams(search);
  const zone = given.get("zone") === "utc" ? "utc" : "local";
  const name = given.get("site");
  const site = SITE.test(name) ? name : null;
  const range = readRange(given, createCalendar(isLocalRefused ? "utc" : zone));
  return { range: range ?? DEFAULT_RANGE, zone, site, isMisread: range === null };
}

/** A range without an end lasts until now. Null if it is none. */
function readRange(given, calendar) {
  const name = given.get("range") ?? DEFAULT_RANGE;
  const [first, last] = [given.get("from"), given.get("to")];
  if (first === null && last === null) return Object.hasOwn(PRESETS, name) ? name : null;
  const from = hoursOf(first, calendar)?.from;
  const to = last === null ? hourOf(Date.now()) : hoursOf(last, calendar)?.to;
  return from === undefined || to === undefined ? null : { from, to };
}

/** The first and the last hour of a day, or twice that of a time; undefined if the text is neither. */
function hoursOf(text, calendar) {
  const found = text?.match(MOMENT);
  if (!found) return undefined;
  const { time, offset } = found.groups;
  const from = hourOf(offset ? Date.parse(text) : calendar.fromInput(time ? text : `${text}T00:00`));
  if (Number.isNaN(from)) return undefined;
  return { from, to: time ? from : calendar.startOf("day", from, 1) - HOUR };
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
  if (zone !== "local") fields.set("zone", zone);
  // Colons are allowed in a query, and are easier to read than %3A.
  const query = fields.toString().replaceAll("%3A", ":");
  return query ? `?${query}` : location.pathname;
}

// The address contains the view, so that it can be shared.

import { share } from "./daemon.js";
import { PRESETS } from "./range.js";
import { asApi, hourOf } from "./time.js";

const DEFAULT_RANGE = "24h";
const SITE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/**
 * A view is { range: a name in PRESETS, or { from, to }, zone: "utc" or "local", site: a name, or null for the one that needs
 * none }. Unknown values are ignored.
 */
export function readView(search) {
  const given = new URLSearchParams(search);
  const zone = given.get("zone") === "utc" ? "utc" : "local";
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
  if (zone !== "local") fields.set("zone", zone);
  // Colons are allowed in a query, and are easier to read than %3A.
  const query = fields.toString().replaceAll("%3A", ":");
  return query ? `?${query}` : location.pathname;
}

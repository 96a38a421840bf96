// Reads the hours, days, weeks or months of a range from the daemon.

import { ask as request } from "./daemon.js";
import { asApi } from "./time.js";

/** Why there are no numbers. Its status is 0 if the daemon did not answer, and 400 if it is not worth asking. */
export class Failure extends Error {
  constructor(status, { title, detail = "", parameter = null }) {
    super(detail || title);
    Object.assign(this, { status, title, detail, parameter });
  }

  /** Whether the same request may be answered later. */
  get canPass() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

async function ask(path, signal) {
  let response;
  try {
    response = await request(path, { accept: "application/json", signal });
    if (response.ok) return await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure(0, { title: "The daemon does not answer" });
  }
  const problem = await response.json().catch(() => ({}));
  throw new Failure(response.status, { title: `The answer was ${response.status}`, ...problem });
}

/** What names a site in a query, behind other parameters; nothing for the one that the token decides. */
export const parameterOf = (site) => (site === null ? "" : `&site=${encodeURIComponent(site)}`);

/**
 * A range of a site in steps of a zone: { from, to, step, periods: [{ start, from, to, unique_users, clicks, impressions }], totals:
 * { unique_users, clicks, impressions }, unknownIn: hours, stored: { first, last } or null, isAll: whether it fits into one answer }.
 * Unique users are null where nobody can tell them, because of the hours unknownIn.
 */
export async function readPeriods({ from, to }, { step, zoneName, site, signal }) {
  const path = `/analytics/periods?from=${asApi(from)}&to=${asApi(to)}&step=${step}&time_zone=${encodeURIComponent(zoneName)}&cut=true${parameterOf(site)}`;
  const answer = await ask(path, signal);
  return {
    step,
    from: Date.parse(answer.from),
    to: Date.parse(answer.to),
    periods: answer.periods.map((period) => ({ ...period, from: Date.parse(period.from), to: Date.parse(period.to) })),
    totals: { ...answer.totals, unique_users: answer.unique_users },
    unknownIn: (answer.unique_users_unknown_in ?? []).map((hour) => Date.parse(hour)),
    stored: answer.stored && { first: Date.parse(answer.stored.first), last: Date.parse(answer.stored.last) },
    isAll: answer.next === null,
  };
}

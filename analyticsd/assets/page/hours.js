// Reads hours from the daemon.

import { ask as request } from "./daemon.js";
import { asApi } from "./time.js";

/** The most hours of one answer, and so the most whose unique users the daemon counts together. */
export const PAGE_HOURS = 1_000;

/** Why there are no numbers. Its status is 0 if the daemon did not answer. */
export class Failure extends Error {
  constructor(status, title, detail) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.detail = detail;
  }
}

async function ask(path, signal) {
  let response;
  try {
    response = await request(path, { accept: "application/json", signal });
    if (response.ok) return await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure(0, "The daemon does not answer", "");
  }
  const problem = await response.json().catch(() => ({}));
  throw new Failure(response.status, problem.title ?? `The answer was ${response.status}`, problem.detail ?? "");
}

/** What names a site in a query, behind other parameters; nothing for the one that the token decides. */
export const parameterOf = (site) => (site === null ? "" : `&site=${encodeURIComponent(site)}`);

const path = ({ from, to }, site, more = "") => `/analytics/hours?from=${asApi(from)}&to=${asApi(to)}&format=json${parameterOf(site)}${more}`;

/** Every hour of a range of a site as [{ hour, unique_users, clicks, impressions }], ascending, read page by page. */
export async function readHours(range, site, { signal, onProgress = () => {} } = {}) {
  const rows = [];
  for (let next = path(range, site); next; ) {
    const page = await ask(next, signal);
    for (const { hour, unique_users, clicks, impressions } of page.hours) {
      rows.push({ hour: Date.parse(hour), unique_users, clicks, impressions });
    }
    onProgress(rows.length);
    next = page.next;
  }
  return rows;
}

/** The clicks and impressions of a range of a site: { clicks, impressions }. */
export async function readTotals(range, site, signal) {
  const sums = { clicks: 0, impressions: 0 };
  for (let next = path(range, site); next; ) {
    const page = await ask(next, signal);
    sums.clicks += page.totals.clicks;
    sums.impressions += page.totals.impressions;
    next = page.next;
  }
  return sums;
}

/** The unique users of a range of at most PAGE_HOURS hours of a site: { users: a number or null, note }. */
export async function countUsers(range, site, signal) {
  const { unique_users: users, unique_users_unknown_in: unknown = [] } = await ask(path(range, site), signal);
  return { users, note: users === null ? `who was seen was not kept in ${unknown.length} of its hours` : "" };
}

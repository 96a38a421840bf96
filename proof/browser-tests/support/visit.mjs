// A visit to the demo site, which a daemon of another origin counts. Daemon and browser are those of the file of tests that imports this.

import assert from "node:assert/strict";
import { after, afterEach, before } from "node:test";
import { openPage, startBrowser } from "./browser.mjs";
import { awayFromTheEndOfTheHour, startDaemon } from "./daemon.mjs";
import { startSite } from "./site.mjs";
import { until } from "./until.mjs";

export let daemon, browser, page, site;
/** What the pages of the visit sent: each event once, and each try. */
export let sent, tries;
let countsBefore, expected;
let requests = [];

before(async () => ([daemon, browser] = await Promise.all([startDaemon("--public-path", "/x7"), startBrowser()])));
after(() => Promise.all([daemon?.close(), browser?.close()]));
afterEach(async () => {
  const complaints = page?.complaints.filter((complaint) => !expected?.test(complaint));
  await leave();
  expected = undefined;
  assert.deepEqual(complaints ?? [], [], "what the browser complained about");
});

/** Ends the visit, and the site with it. What is on its way would be counted in the next one, so it is waited for. */
export async function leave() {
  const answers = Promise.all(requests.map((request) => request.response().catch(() => null)));
  await Promise.race([answers, new Promise((resolve) => setTimeout(resolve, 3_000).unref())]);
  requests = [];
  await Promise.all([page?.context().close(), site?.close()]);
  page = site = undefined;
}

/** Opens the site, unless `path` is null. `counter` is where its pages send to, if not to the daemon itself. */
export async function visit(path, { edit, headers, counter = daemon.origin, prepare = () => {}, ...options } = {}) {
  await leave();
  await awayFromTheEndOfTheHour(30);
  site = await startSite(counter, { edit, headers });
  countsBefore = await daemon.counts();
  [sent, tries] = [[], []];
  page = await openPage(browser, "about:blank", options);
  page.context().on("request", (request) => {
    const url = new URL(request.url());
    if (url.origin !== counter || !["/analytics", "/analytics.gif", "/x7", "/x7.gif"].includes(url.pathname)) return;
    requests.push(request);
    const event = Object.fromEntries(url.searchParams);
    tries.push({ ...event, by: request.resourceType(), to: url.pathname });
    if (!sent.some(({ id }) => id === event.id)) sent.push(event);
  });
  await prepare(page);
  if (path !== null) await page.goto(site.origin + path);
}

/** The browser may complain about this in the rest of the test. */
export function expectComplaints(pattern) {
  expected = pattern;
}

/** What was counted since the visit began. */
export const counted = async () => {
  const now = await daemon.counts();
  return Object.fromEntries(Object.keys(now).map((name) => [name, now[name] - countsBefore[name]]));
};

/** Exactly that much was counted since the visit began, and nothing else was sent that is still on its way. */
export async function assertCounted(expected, message) {
  const sum = expected.clicks + expected.impressions;
  await until(counted, (counts) => assert.deepEqual(counts, expected, message));
  assert.equal(sent.length, sum, `what was sent: ${JSON.stringify(tries)}`);
}

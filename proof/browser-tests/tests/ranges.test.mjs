// The ranges that have a button, the steps that they are drawn in, and the days that they are of.

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { closePage, openPage, ready, startBrowser } from "../support/browser.mjs";
import { HOUR, asApi, awayFromTheEndOfTheHour, hourOf, startDaemon } from "../support/daemon.mjs";
import { traffic } from "../support/traffic.mjs";
import { until } from "../support/until.mjs";

const DAY = 24 * HOUR;
const STORED = 1_500;
let daemon, browser, page, first;

before(async () => {
  [daemon, browser] = await Promise.all([startDaemon(), startBrowser()]);
  await daemon.postAll(traffic({ hours: STORED, most: 12 }));
  first = Date.parse((await daemon.periods(Date.now(), Date.now(), "hour")).stored.first);
});
after(() => Promise.all([daemon?.close(), browser?.close()]));
beforeEach(() => awayFromTheEndOfTheHour());
afterEach(async () => {
  const closing = closePage(page);
  page = undefined;
  await closing;
});

async function open(query = "", options = {}) {
  page = await openPage(browser, daemon.origin + query, options);
  await ready(page);
}

const text = (selector) => page.locator(selector).innerText();
const number = (text) => Number(text.replaceAll(/[^\d.]/g, ""));
const drawn = () => page.evaluate(() => Object.fromEntries([...document.querySelectorAll("#charts [data-series]")].map((panel) => [panel.dataset.series, panel.plot.data.map((column) => [...column])])));

/** The page shows exactly what the API answers for a range in steps. */
async function assertShows(from, to, step, zone = "UTC") {
  const { periods, totals, unique_users } = await daemon.periods(from, to, step, zone);
  await until(drawn, (charts) => {
    for (const series of ["unique_users", "clicks", "impressions"]) assert.deepEqual(charts[series][2], periods.map((period) => period[series]), series);
  });
  assert.equal(number(await text("[data-total=unique_users]")), unique_users);
  assert.equal(number(await text("[data-total=clicks]")), totals.clicks);
  assert.equal(number(await text("[data-total=impressions]")), totals.impressions);
}

const midnight = (shift = 0) => Math.floor(Date.now() / DAY) * DAY + shift * DAY;
const thisMonth = () => Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth(), 1);
const now = () => hourOf(Date.now());

const RANGES = {
  Today: () => [midnight(), now(), "hour"],
  Yesterday: () => [midnight(-1), midnight() - HOUR, "hour"],
  "24 hours": () => [now() - 23 * HOUR, now(), "hour"],
  "7 days": () => [midnight(-6), now(), "hour"],
  "30 days": () => [midnight(-29), now(), "day"],
  "This month": () => [thisMonth(), now(), now() - thisMonth() <= 7 * DAY ? "hour" : "day"],
  "All time": () => [Math.floor(first / DAY) * DAY, now(), "day"],
};

for (const [name, expected] of Object.entries(RANGES)) {
  test(`"${name}" shows what the API answers, unique users of all of it too, without another click`, async () => {
    // Of another range than the one that is chosen.
    await open(name === "24 hours" ? "/?range=7d" : "/");
    await page.getByLabel(name, { exact: true }).check();
    await page.locator("#range-card:not([aria-busy])").waitFor();
    // In the first hours of a day or month it may be without events.
    if (await page.locator("#range-card[data-state=empty]").count()) return;
    await assertShows(...expected());
  });
}

test("a day of the reader's place is one of the chart", async () => {
  await open("/?range=30d", { timezoneId: "America/New_York" });
  const { clicks } = await drawn();
  assert.equal(clicks[2].length, 30);
  const { periods } = await daemon.periods(now() - 31 * DAY, now(), "day", "America/New_York");
  assert.deepEqual(clicks[2].slice(1), periods.slice(-29).map((period) => period.clicks));
  await page.getByLabel("UTC").check();
  await assertShows(midnight(-29), now(), "day");
});

const dateOf = (instant) => asApi(instant).slice(0, 10);

test("dates in the address are whole days of the page's zone, as in the command line", async () => {
  const [first, last] = [dateOf(midnight(-5)), dateOf(midnight(-3))];
  const open = async (query, timezoneId) => {
    await page?.context().close();
    page = await openPage(browser, daemon.origin + query, { timezoneId });
    await ready(page);
    assert.ok(await page.locator("#misread").isHidden());
  };
  const { periods } = await daemon.periods(midnight(-6), midnight(), "day", "Asia/Tokyo");
  const [{ from }, , { to }] = periods.filter(({ start }) => start.slice(0, 10) >= first && start.slice(0, 10) <= last);
  await open(`/?from=${first}&to=${last}`, "Asia/Tokyo");
  await assertShows(Date.parse(from), Date.parse(to), "hour", "Asia/Tokyo");
  for (const [query, zone] of [["&zone=utc", "Asia/Tokyo"], ["", "UTC"], ["", "Asia/Kolkata"]]) {
    await open(`/?from=${first}&to=${last}${query}`, zone);
    await assertShows(midnight(-5), midnight(-2) - HOUR, "hour");
  }
  await open(`/?from=${first}`, "UTC");
  await assertShows(midnight(-5), now(), "hour");
});

test("an address that names no range is answered with the last 24 hours, and the page says so", async () => {
  for (const query of ["from=garbage&to=garbage", "from=2026-02-40&to=2026-03-01", "to=2026-11-01", "range=nosuch"]) {
    await open(`/?${query}`);
    assert.equal(await text("#misread"), "The address names no range that this page understands. These are the last 24 hours.", query);
    await assertShows(now() - 23 * HOUR, now(), "hour");
    await page.getByLabel("7 days").check();
    await page.locator("#misread").waitFor({ state: "hidden" });
    await page.context().close();
  }
});

const LONG = [
  ["a week", 7, "hour", "day"],
  ["60 days", 60, "day", "day"],
  ["200 days", 200, "week", "week"],
  ["two years", 730, "week", "month"],
  ["five years", 1_800, "month", "month"],
];
for (const [length, days, wide, narrow] of LONG) {
  for (const [width, step] of [[1_100, wide], [360, narrow]]) {
    test(`${length} at ${width} pixels comes by ${step}, and no bar is thinner than three pixels`, async () => {
      const [from, to] = [midnight(-days + 1), midnight() + 23 * HOUR];
      await open(`/?from=${asApi(from)}&to=${asApi(to)}`, { viewport: { width, height: 800 } });
      await assertShows(from, to, step);
      const slot = await page.evaluate(() => {
        const { plot } = document.querySelector("#charts [data-series=clicks]");
        return plot.over.clientWidth / plot.data[0].length;
      });
      assert.ok(slot >= 3, `${slot} pixels`);
    });
  }
}

test("a range that is longer than one answer says that it shows the first part", async () => {
  await open(`/?from=1990-01-01T00:00Z&to=2090-01-01T00:00Z`);
  assert.match(await text("#readout"), /^Mon, 1 Jan 1990 – .* 2073: the first part, as much as one answer holds$/);
});

test("a page that becomes narrow takes longer steps", async () => {
  await open("/?range=7d", { viewport: { width: 1_100, height: 800 } });
  await page.setViewportSize({ width: 360, height: 800 });
  await until(drawn, (charts) => assert.equal(charts.clicks[2].length, 7));
});

test("times are of the reader's place or of UTC", async () => {
  await open("/", { timezoneId: "America/New_York" });
  assert.match(await text("#now-span"), /GMT-[45]$/);
  await page.getByLabel("UTC").check();
  const hour = asApi(now()).slice(11, 16);
  await until(() => text("#now-span"), (span) => assert.ok(span.startsWith(`${hour}–`) && span.endsWith("UTC"), span));
});

test("where hours are not those of UTC the page is in UTC, and says why", async () => {
  await open("/", { timezoneId: "Asia/Kolkata" });
  assert.match(await text("#zone-note"), /^Times are in UTC: events are counted by UTC hours, and Asia\/(Kolkata|Calcutta) is half an hour off\.$/);
  assert.ok(await page.locator("#zone").isHidden());
  assert.match(await text("#now-span"), /UTC$/);
  await assertShows(now() - 23 * HOUR, now(), "hour");
});

test("unique users that nobody can tell are said to be so, with the hours and what finds it out", async () => {
  page = await openPage(browser, "about:blank");
  const unknown = [-3, -2, -9].map((ago) => now() + ago * HOUR).sort();
  await page.route(/\/analytics\/periods\?/, async (route) => {
    const response = await route.fetch();
    const answer = await response.json();
    const periods = answer.periods.map((period) => (unknown.includes(Date.parse(period.from)) ? { ...period, unique_users: null } : period));
    await route.fulfill({ response, json: { ...answer, periods, unique_users: null, unique_users_unknown_in: unknown.map(asApi) } });
  });
  await page.goto(`${daemon.origin}/`);
  await ready(page);
  assert.equal(await text("[data-total=unique_users]"), "–");
  assert.equal(await text("[data-change=unique_users]"), "");
  const said = await text("#unknown");
  assert.match(said, /not known, because who came was not kept in 3 hours \(.*; .*\)\. analytics-cli backfill finds that out/);
  // Hours across midnight have a date on both sides, and spaces around the dash.
  for (const hour of [unknown[0], unknown[1]]) assert.match(said, new RegExp(`${asApi(hour).slice(11, 16)} ?–`));
  const { unique_users: users } = await drawn();
  assert.equal(users[2].filter((count) => count === null).length, 3);
});

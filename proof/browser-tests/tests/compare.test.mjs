// A headline and its arrow are of the same span.

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { bounds, change } from "../../../analyticsd/assets/page/compare.js";
import { before as beforeOf } from "../../../analyticsd/assets/page/range.js";
import { calendar } from "../../../analyticsd/assets/page/time.js";
import { closePage, openPage, ready, startBrowser } from "../support/browser.mjs";
import { HOUR, asApi, awayFromTheEndOfTheHour, hourOf, startDaemon } from "../support/daemon.mjs";

const totals = (unique_users, clicks, impressions) => ({ unique_users, clicks, impressions });

test("a range that is over is compared exactly", () => {
  const earlier = { over: totals(8, 10, 100), whole: undefined };
  earlier.whole = earlier.over;
  const of = (series, now) => change(series, earlier, now);
  assert.deepEqual(of("clicks", totals(0, 15, 0)), { direction: 1, text: "50.0%", from: "from 10" });
  assert.deepEqual(of("clicks", totals(0, 5, 0)), { direction: -1, text: "50.0%", from: "from 10" });
  assert.deepEqual(of("clicks", totals(0, 10, 0)), { direction: 0, text: "unchanged", from: "from 10" });
  assert.deepEqual(of("rate", totals(0, 15, 100)), { direction: 1, text: "5.0 points", from: "from 10.0%" });
});

test("within an hour an arrow shows only what is so at every instant of that hour of the time before", () => {
  const earlier = { over: totals(80, 100, 1_000), whole: totals(90, 120, 1_100) };
  const of = (series, now) => change(series, earlier, now);
  assert.deepEqual(of("clicks", totals(0, 132, 0)), { direction: 1, text: "at least 10.0%", from: "from 100–120" });
  assert.deepEqual(of("clicks", totals(0, 90, 0)), { direction: -1, text: "at least 10.0%", from: "from 100–120" });
  for (const clicks of [100, 110, 120]) assert.deepEqual(of("clicks", totals(0, clicks, 0)), { direction: 0, text: "about the same", from: "as 100–120" });
  const [least, most] = bounds("rate", earlier);
  assert.ok(least < 100 / 1_000 && most > 120 / 1_100, "whatever came first in that hour");
});

test("what is not known is not compared, and what was nothing has no per cent", () => {
  const unknown = { over: totals(null, 1, 1), whole: totals(null, 1, 1) };
  assert.equal(change("unique_users", unknown, totals(3, 1, 1)), null);
  const nothing = { over: totals(0, 0, 0), whole: totals(0, 0, 0) };
  assert.deepEqual(change("clicks", nothing, totals(1, 1, 0)), { direction: 1, text: "", from: "from 0" });
  assert.equal(change("rate", nothing, totals(1, 1, 0)), null);
  assert.equal(change("clicks", nothing, totals(0, 0, 0)), null);
});

test("what a range is compared with is as long, before it, and cut where the range is now", () => {
  const at = (text) => Date.parse(`${text}:00Z`);
  const now = at("2026-11-25T10:00");
  for (const [from, to, earlierFrom, earlierTo] of [
    ["2026-11-24T11:00", "2026-11-25T10:00", "2026-11-23T11:00", "2026-11-24T10:00"],
    // Today and yesterday, by days.
    ["2026-11-25T00:00", "2026-11-25T10:00", "2026-11-24T00:00", "2026-11-24T10:00"],
    ["2026-11-24T00:00", "2026-11-24T23:00", "2026-11-23T00:00", "2026-11-23T23:00"],
    ["2026-11-19T00:00", "2026-11-25T10:00", "2026-11-12T00:00", "2026-11-18T10:00"],
    // Hours of a day, by hours.
    ["2026-11-24T00:00", "2026-11-24T03:00", "2026-11-23T20:00", "2026-11-23T23:00"],
    // What lies ahead is not compared.
    ["2026-11-25T00:00", "2026-11-25T23:00", "2026-11-24T00:00", "2026-11-24T10:00"],
    // A hundred days, by weeks.
    ["2026-08-18T00:00", "2026-11-25T10:00", "2026-05-05T00:00", "2026-08-12T10:00"],
  ]) {
    assert.deepEqual(beforeOf({ from: at(from), to: at(to) }, now, calendar("utc")), { from: at(earlierFrom), to: at(earlierTo) }, `${from} to ${to}`);
  }
  assert.equal(beforeOf({ from: at("1970-01-01T05:00"), to: at("1970-01-02T05:00") }, now, calendar("utc")), null, "nothing is older than 1970");
  assert.equal(beforeOf({ from: at("2020-01-01T00:00"), to: now }, now, calendar("utc")), null, "nor are many years compared");
});

let daemon, browser, page;

before(async () => ([daemon, browser] = await Promise.all([startDaemon(), startBrowser()])));
after(() => Promise.all([daemon?.close(), browser?.close()]));
afterEach(async () => {
  const closing = closePage(page);
  page = undefined;
  await closing;
});

test("traffic that rises in this hour is not shown as falling", async () => {
  await awayFromTheEndOfTheHour();
  const hour = hourOf(Date.now());
  const events = (count, timestamp) => Array.from({ length: count }, (_, index) => ({ timestamp: timestamp + index, user: `visitor-${index}`, event: "click" }));
  // Without this hour there were 10 yesterday and 2 today; with it, 12 at most yesterday, and 32 today.
  await daemon.postAll([...events(10, hour - 30 * HOUR), ...events(2, hour - 24 * HOUR), ...events(2, hour - 5 * HOUR), ...events(30, hour)]);
  page = await openPage(browser, daemon.origin);
  await ready(page);
  const text = (selector) => page.locator(selector).textContent();
  assert.equal(await text("[data-total=clicks]"), "32");
  assert.equal(await text("[data-change=clicks]"), "▲ up at least 166.7% from 10–12");
  assert.equal(await text("[data-change=unique_users]"), "▲ up 200.0% from 10");
  assert.match(await text("#comparison"), /^Compared with .*\. Counts are kept by the hour, so the number at \d\d:\d\d is known only as a range\.$/);
  // The hours behind the bars are those that are compared.
  const behind = await page.evaluate(() => [...document.querySelector("#charts [data-series=clicks]").plot.data[1]]);
  const { periods } = await daemon.periods(hour - 47 * HOUR, hour - 24 * HOUR, "hour");
  assert.deepEqual(behind, periods.map((period) => period.clicks));
});

test("a range that is over is compared with all of the time before, and a rate above 100 % is explained", async () => {
  const hour = hourOf(Date.now());
  page = await openPage(browser, `${daemon.origin}/?from=${asApi(hour - 5 * HOUR)}&to=${asApi(hour - 5 * HOUR)}`);
  await ready(page);
  assert.ok(await page.locator("#comparison").isHidden(), "the hour before it had no events");
  assert.ok(await page.locator("[data-change=clicks]").isHidden(), "and no empty line keeps its place");
  assert.ok(await page.locator("#high-rate").isHidden(), "there is no rate without impressions");
  await daemon.post("impression", { timestamp: hour - 5 * HOUR });
  await daemon.post("click", { timestamp: hour - 6 * HOUR });
  await page.reload();
  await ready(page);
  assert.equal(await page.locator("[data-total=rate]").textContent(), "200.0%");
  assert.match(await page.locator("#high-rate").innerText(), /^A rate above 100 % means more clicks than impressions\./);
  assert.equal(await page.locator("[data-change=clicks]").textContent(), "▲ up 100.0% from 1");
  assert.ok((await page.locator("#comparison").innerText()).startsWith("Compared with "));
  // Only the hour behind is above 100 % here: a click of each of two, and an impression of one.
  await daemon.post("impression", { timestamp: hour - 4 * HOUR });
  await page.goto(`${daemon.origin}/?from=${asApi(hour - 4 * HOUR)}&to=${asApi(hour - 4 * HOUR)}`);
  await page.locator("[data-change=rate] small").waitFor();
  assert.equal(await page.locator("[data-total=rate]").textContent(), "0.0%");
  assert.equal(await page.locator("[data-change=rate] small").textContent(), "from 200.0%");
  assert.ok(await page.locator("#high-rate").isVisible(), "the grey rate is explained too");
});

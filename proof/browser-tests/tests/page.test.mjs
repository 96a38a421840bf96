import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { closePage, openPage, ready, startBrowser } from "../support/browser.mjs";
import { HOUR, asApi, awayFromTheEndOfTheHour, hourOf, startDaemon } from "../support/daemon.mjs";
import { traffic } from "../support/traffic.mjs";
import { until } from "../support/until.mjs";

let daemon, browser, page;

before(async () => {
  [daemon, browser] = await Promise.all([startDaemon(), startBrowser()]);
  await daemon.postAll(traffic({ hours: 1_500, most: 12 }));
});
after(() => Promise.all([daemon?.close(), browser?.close()]));
afterEach(async () => {
  const closing = closePage(page);
  page = undefined;
  await closing;
});

/** What a test asks the API for must be of the same hours as what the page shows. */
beforeEach(() => awayFromTheEndOfTheHour());

async function open(query = "", options = {}) {
  page = await openPage(browser, daemon.origin + query, options);
  await ready(page);
  return page;
}

/** The numbers in the charts: what uPlot was given to draw. */
const drawn = (page) => page.evaluate(() => Object.fromEntries([...document.querySelectorAll("#charts [data-series]")].map((panel) => [panel.dataset.series, panel.plot.data.map((column) => [...column])])));
const text = (page, selector) => page.locator(selector).innerText();
const number = (text) => Number(text.replaceAll(/[^\d.]/g, ""));
const rateOf = ({ clicks, impressions }) => (impressions > 0 ? clicks / impressions : null);
const percent = (rate) => `${(rate * 100).toFixed(1)}%`;

/** The rows of the table, the last period first, as [first hour, unique users, clicks, impressions, rate]. */
async function table(page) {
  if (!(await page.locator("#numbers").getAttribute("open").then((open) => open !== null))) await page.locator("#numbers summary").click();
  return page.locator("#rows tr").evaluateAll((lines) => lines.map((line) => [line.dataset.from, ...[...line.querySelectorAll("td")].map((cell) => cell.textContent)]));
}

/** The page shows an answer of the API, and nothing else. */
async function assertShows(page, { periods, totals, unique_users }) {
  const charts = await drawn(page);
  for (const series of ["unique_users", "clicks", "impressions"]) assert.deepEqual(charts[series][2], periods.map((period) => period[series]), series);
  assert.deepEqual(charts.rate[2], periods.map(rateOf));
  const lines = (await table(page)).map(([from, users, clicks, impressions, rate]) => [from, number(users), number(clicks), number(impressions), rate]);
  const expected = periods.map((period) => [period.from, period.unique_users, period.clicks, period.impressions, rateOf(period) === null ? "–" : percent(rateOf(period))]);
  assert.deepEqual(lines, expected.reverse());
  assert.equal(number(await text(page, "[data-total=unique_users]")), unique_users);
  assert.equal(number(await text(page, "[data-total=clicks]")), totals.clicks);
  assert.equal(number(await text(page, "[data-total=impressions]")), totals.impressions);
  assert.equal(await text(page, "[data-total=rate]"), percent(rateOf(totals)));
}

test("an event that is posted while the page is open shows by itself, in the hour, the totals, the charts and the table", async () => {
  await open();
  await page.locator("#connection[data-state=live]").waitFor();
  await table(page);
  const before = await daemon.counts();
  const total = number(await text(page, "[data-total=clicks]"));
  const totalUsers = number(await text(page, "[data-total=unique_users]"));
  await daemon.post("click", { user: "somebody new" });
  const shown = (before) => page.waitForFunction(
    ({ users, clicks, total, totalUsers }) => {
      const text = (selector) => Number(document.querySelector(selector).textContent.replaceAll(/\D/g, ""));
      const last = (series) => document.querySelector(`#charts [data-series=${series}]`).plot.data[2].at(-1);
      return text("[data-now=clicks]") === clicks && text("[data-now=unique_users]") === users && text("[data-total=clicks]") === total && text("[data-total=unique_users]") === totalUsers
        && last("clicks") === clicks && last("unique_users") === users && text("#rows tr td:nth-of-type(2)") === clicks;
    },
    before,
    { polling: 20 },
  );
  await shown({ users: before.unique_users + 1, clicks: before.clicks + 1, total: total + 1, totalUsers: totalUsers + 1 });
});

test("a page that nobody sees keeps no connection from others, and shows what came when it is seen again", async () => {
  await open();
  await page.locator("#connection[data-state=live]").waitFor();
  const setHidden = (isHidden) => page.evaluate((isHidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
    document.dispatchEvent(new Event("visibilitychange"));
  }, isHidden);
  const { clicks } = await daemon.counts();
  const ended = page.waitForEvent("requestfailed", (request) => request.url().endsWith("/analytics/stream"));
  await setHidden(true);
  await ended;
  await daemon.post("click");
  await setHidden(false);
  await page.waitForFunction((expected) => document.querySelector("[data-now=clicks]").textContent === expected, String(clicks + 1));
  await page.locator("#connection[data-state=live]").waitFor();
});

test("a range is chosen by its first and last hour", async () => {
  await open();
  await page.getByLabel("Choose…").check();
  const to = hourOf(Date.now()) - 30 * HOUR;
  const from = to - 9 * HOUR;
  await page.getByLabel("From").fill(asApi(from).slice(0, 16));
  await page.getByLabel("To", { exact: true }).fill(asApi(to + 59 * 60_000).slice(0, 16));
  await page.getByRole("button", { name: "Show" }).click();
  await page.waitForURL(`${daemon.origin}/?from=${asApi(from)}&to=${asApi(to)}`);
  await until(() => drawn(page), (charts) => assert.equal(charts.clicks[0].length, 10));
  await assertShows(page, await daemon.periods(from, to, "hour"));
});

test("what is dragged over becomes the range, with one request for it", async () => {
  await open("/?range=7d");
  const [first, count] = await page.evaluate(() => {
    const { plot } = document.querySelector("#charts [data-series=clicks]");
    return [document.querySelectorAll("#rows tr").length, plot.data[0].length];
  });
  assert.equal(first, 0);
  const box = await page.locator("[data-series=clicks] .u-over").boundingBox();
  const hourAt = (share) => hourOf(Date.now()) - (count - 1) * HOUR + Math.floor(share * count) * HOUR;
  const asked = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.pathname === "/analytics/periods") asked.push(url.searchParams);
  });
  await page.mouse.move(box.x + box.width * 0.25, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 40, { steps: 4 });
  await page.mouse.move(box.x + box.width * 0.5, box.y + 40, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/from=/);
  await ready(page);
  const chosen = new URL(page.url()).searchParams;
  // Within an hour of where the mouse was: a pixel more or less is nobody's concern.
  assert.ok(Math.abs(Date.parse(chosen.get("from")) - hourAt(0.25)) <= HOUR, chosen.get("from"));
  assert.ok(Math.abs(Date.parse(chosen.get("to")) - hourAt(0.5)) <= HOUR, chosen.get("to"));
  const sameRange = asked.filter((query) => query.get("from") === chosen.get("from") && query.get("to") === chosen.get("to"));
  assert.equal(sameRange.length, 1, "the range itself is asked for once");
  assert.equal(asked.length, 2, `and the time before it: ${asked.join(" and ")}`);
});

test("bars are as high as their numbers, and a tooltip at the pointer names the hour and its numbers", async () => {
  await open();
  const charts = await drawn(page);
  const most = Math.max(...charts.impressions[2]);
  const index = charts.impressions[2].indexOf(most);
  // Colour at the middle of the highest bar, just below and just above its top.
  const [below, above] = await page.evaluate(([index, most]) => {
    const { plot } = document.querySelector("#charts [data-series=impressions]");
    const x = plot.valToPos(plot.data[0][index], "x", true);
    const top = plot.valToPos(most, "y", true);
    const at = (y) => [...plot.ctx.getImageData(Math.round(x), Math.round(y), 1, 1).data];
    return [at(top + 4), at(top - 2)];
  }, [index, most]);
  assert.deepEqual(below, [0x4f, 0x46, 0xe5, 255], "the bar has its colour");
  assert.notDeepEqual(above, below, "and ends where its number says");

  const over = page.locator("[data-series=clicks] .u-over");
  const { width, x } = await over.boundingBox();
  await over.hover({ position: { x: ((index + 0.2) / 24) * width, y: 30 } });
  const hour = hourOf(Date.now()) - (23 - index) * HOUR;
  const [row] = (await daemon.periods(hour, hour, "hour")).periods;
  const [earlier] = (await daemon.periods(hour - 24 * HOUR, hour - 24 * HOUR, "hour")).periods;
  const tooltip = page.locator(".tooltip");
  assert.match(await tooltip.locator("strong").innerText(), new RegExp(`${row.from.slice(11, 16)}–`));
  const shown = ({ unique_users, clicks, impressions, ...rest }) => [unique_users, clicks, impressions].map(String).concat(percent(rateOf({ clicks, impressions })));
  assert.deepEqual(await tooltip.locator(".value").allInnerTexts(), shown(row));
  assert.deepEqual(await tooltip.locator(".earlier").allInnerTexts(), ["before", ...shown(earlier)]);
  const box = await tooltip.boundingBox();
  const pointer = x + ((index + 0.2) / 24) * width;
  assert.ok(Math.min(Math.abs(box.x - pointer), Math.abs(box.x + box.width - pointer)) < 40, "it is beside the pointer");
  await page.mouse.move(5, 5);
  await tooltip.waitFor({ state: "hidden" });
});

test("the address says what is looked at, and back goes back", async () => {
  await open("/", { timezoneId: "Europe/Berlin" });
  await page.getByLabel("30 days").check();
  await page.waitForURL(`${daemon.origin}/?range=30d`);
  await page.getByLabel("UTC").check();
  await page.waitForURL(`${daemon.origin}/?range=30d&zone=utc`);
  await page.goBack();
  await page.goBack();
  await page.waitForURL(`${daemon.origin}/`);
  await until(() => drawn(page), (charts) => assert.equal(charts.clicks[0].length, 24));
  assert.ok(await page.getByLabel("24 hours").isChecked());
  assert.ok(await page.getByLabel("Local").isChecked());
});

test("a range that comes late does not take the place of the one that was chosen since", async () => {
  await open();
  let release;
  const released = new Promise((resolve) => (release = resolve));
  const asked = new Promise((resolve) => page.route(/\/analytics\/periods\?/, async (route) => {
    resolve();
    await released;
    // Nobody may wait for it any more.
    await route.continue().catch(() => {});
  }));
  await page.getByLabel("7 days").check();
  await asked;
  await page.getByLabel("24 hours").check();
  release();
  await ready(page);
  // The comparison is the last that is read.
  await page.locator("[data-change=clicks] .by").waitFor();
  assert.equal((await drawn(page)).clicks[0].length, 24);
  assert.ok(await page.getByLabel("24 hours").isChecked());
});

test("the CSV of hours is the API's, byte for byte", async () => {
  await open();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV" }).click()]);
  const to = hourOf(Date.now());
  const from = to - 23 * HOUR;
  assert.equal(download.suggestedFilename(), `analytics-${asApi(from).slice(0, 13)}Z-${asApi(to).slice(0, 13)}Z.csv`);
  assert.equal(await readFile(await download.path(), "utf8"), await daemon.csv(from, to));
});

test("the CSV of days has the days that are shown", async () => {
  await open("/?range=30d", { timezoneId: "Europe/Berlin" });
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV" }).click()]);
  const [head, ...lines] = (await readFile(await download.path(), "utf8")).trim().split("\n");
  assert.equal(head, "day,unique_users,clicks,impressions");
  const { clicks } = await drawn(page);
  assert.deepEqual(lines.map((line) => Number(line.split(",")[2])), clicks[2]);
  assert.match(lines[0], /^\d{4}-\d\d-\d\dT00:00:00\+0[12]:00,/);
});

test("the PNG is a picture of all four charts", async () => {
  await open();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "PNG" }).click()]);
  const bytes = await readFile(await download.path());
  assert.deepEqual([...bytes.subarray(0, 8)], [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  const colors = ["0d7a6f", "b4530a", "4f46e5", "a3195b"].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const counted = await page.evaluate(async ([base64, colors]) => {
    const image = Object.assign(new Image(), { src: `data:image/png;base64,${base64}` });
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
    const paint = canvas.getContext("2d");
    paint.drawImage(image, 0, 0);
    const { data } = paint.getImageData(0, 0, image.width, image.height);
    const counts = colors.map(() => 0);
    for (let at = 0; at < data.length; at += 4) {
      colors.forEach((color, index) => (counts[index] += color.every((part, offset) => data[at + offset] === part)));
    }
    return counts;
  }, [bytes.toString("base64"), colors]);
  // The marks beside the names are 64 pixels each; more than that is the drawing.
  for (const [index, count] of counted.entries()) assert.ok(count > 200, `colour ${index} has ${count} pixels`);
});

/** Opens the page with a stream that the test tells by hand: no test can wait for an hour to end. */
async function openTold() {
  page = await openPage(browser, "about:blank");
  await page.addInitScript(() => {
    const real = window.fetch;
    window.fetch = (path, options) => {
      if (path !== "/analytics/stream") return real(path, options);
      const body = new ReadableStream({
        start(stream) {
          window.tell = (counts) => stream.enqueue(new TextEncoder().encode(`event: counts\ndata: ${JSON.stringify(counts)}\n\n`));
        },
      });
      return Promise.resolve(new Response(body));
    };
  });
  await page.goto(daemon.origin);
  await ready(page);
}

test("what the stream tells of the current hour is in the range at once, before that is read again", async () => {
  await openTold();
  await page.locator("[data-change=clicks] small").waitFor();
  await page.route(/\/analytics\/periods\?/, () => {});
  const { unique_users: users, clicks, impressions } = await daemon.counts();
  const total = number(await text(page, "[data-total=clicks]"));
  await page.evaluate((counts) => window.tell(counts), { hour: asApi(hourOf(Date.now())), unique_users: users + 1, clicks: clicks + 5, impressions });
  await page.waitForFunction((expected) => document.querySelector("[data-now=clicks]").textContent === expected, String(clicks + 5));
  assert.equal(number(await text(page, "[data-total=clicks]")), total + 5);
  const charts = await until(() => drawn(page), (charts) => assert.equal(charts.clicks[2].at(-1), clicks + 5));
  assert.equal(charts.unique_users[2].at(-1), users + 1);
});

test("a rate without neighbours is a point, where a line has none", async () => {
  const lone = hourOf(Date.now()) - 1_600 * HOUR;
  await daemon.post("impression", { timestamp: lone });
  await daemon.post("click", { timestamp: lone });
  await open(`/?from=${asApi(lone - 50 * HOUR)}&to=${asApi(lone + 50 * HOUR)}`);
  const color = await page.evaluate(() => {
    const { plot } = document.querySelector("#charts [data-series=rate]");
    const [x, y] = [plot.valToPos(50, "x", true), plot.valToPos(1, "y", true)];
    return [...plot.ctx.getImageData(Math.round(x), Math.round(y), 1, 1).data];
  });
  assert.deepEqual(color, [0xa3, 0x19, 0x5b, 255]);
});

test("the bars behind fill their places to the pixel", async () => {
  await open();
  await page.locator("[data-change=clicks] small").waitFor();
  const colors = await page.evaluate(() => {
    const { plot } = document.querySelector("#charts [data-series=impressions]");
    const behind = plot.data[1];
    const found = [];
    // Where the lower of two meets the other, just below its top: there is none in front, and it is as grey as elsewhere.
    for (let at = 1; at < behind.length; at++) {
      const top = Math.ceil(plot.valToPos(Math.min(behind[at - 1], behind[at]), "y", true));
      if (top + 4 > plot.valToPos(0, "y", true)) continue;
      const [x, y] = [Math.round(plot.valToPos(at - 0.5, "x", true)), top + 1];
      for (const shift of [-1, 0]) found.push([...plot.ctx.getImageData(x + shift, y, 1, 1).data].join());
    }
    return found;
  });
  assert.ok(colors.length > 10, `${colors.length} places`);
  assert.deepEqual([...new Set(colors)], [[0xd5, 0xd5, 0xde, 255].join()]);
});

test("at 360 pixels the table shows all of its numbers, and a finger is not told to drag", async () => {
  await open("/", { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, timezoneId: "Africa/Abidjan" });
  await table(page);
  const [content, room] = await page.locator("#numbers .scroll").evaluate(({ scrollWidth, clientWidth }) => [scrollWidth, clientWidth]);
  assert.ok(content <= room, `the table is ${content} px wide, its place ${room}`);
  const hour = hourOf(Date.now());
  // Without a year or a zone. Whether a comma follows the day of the week is the browser's choice.
  const [date, time] = [new Date(hour).getUTCDate(), asApi(hour).slice(11, 16)];
  assert.match(await page.locator("#rows th").first().innerText(), new RegExp(`^\\w+,? ${date} \\w+, ${time}–`));
  await page.getByLabel("Choose…").check();
  assert.equal(await text(page, "#chosen-hint"), "Whole hours, the last one included.");
});

test("when an hour ends the page goes on to the next by itself", async () => {
  await openTold();
  const hour = hourOf(Date.now());
  const next = asApi(hour + HOUR);
  for (let step = 0; step < 3; step++) await page.locator("#charts").press("ArrowLeft");
  const tooltip = await text(page, ".tooltip strong");
  assert.ok(tooltip.includes(`${asApi(hour - 2 * HOUR).slice(11, 16)}–`), tooltip);
  await page.evaluate((hour) => window.tell({ hour, unique_users: 1, clicks: 2, impressions: 3 }), asApi(hour));
  await page.evaluate((hour) => window.tell({ hour, unique_users: 0, clicks: 0, impressions: 0 }), next);
  await until(() => table(page), ([[last]]) => assert.equal(last, next));
  assert.equal((await drawn(page)).clicks[0].length, 24);
  assert.equal(await text(page, ".tooltip strong"), tooltip, "the hour that is pointed at stays");
  assert.ok((await text(page, "#now-span")).startsWith(`${next.slice(11, 16)}–`));
});

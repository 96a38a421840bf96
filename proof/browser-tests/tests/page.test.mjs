import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { openPage, ready, startBrowser } from "../support/browser.mjs";
import { HOUR, asApi, awayFromTheEndOfTheHour, hourOf, startDaemon } from "../support/daemon.mjs";
import { traffic } from "../support/traffic.mjs";
import { until } from "../support/until.mjs";

const HOURS = { "24h": 24, "7d": 168, "30d": 720 };
let daemon, browser, page;

before(async () => {
  [daemon, browser] = await Promise.all([startDaemon(), startBrowser()]);
  await daemon.postAll(traffic({ hours: 1_500, most: 12 }));
});
after(() => Promise.all([daemon?.close(), browser?.close()]));
afterEach(async () => {
  const complaints = page?.complaints;
  await page?.context().close();
  page = undefined;
  assert.deepEqual(complaints ?? [], [], "what the browser complained about");
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
const sum = (rows, name) => rows.reduce((sum, row) => sum + row[name], 0);
const percent = (rate) => `${(rate * 100).toFixed(1)}%`;

/** The rows of the table, the last hour first, as [hour, unique users, clicks, impressions, rate]. */
async function table(page) {
  if (!(await page.locator("#numbers").getAttribute("open").then((open) => open !== null))) await page.locator("#numbers summary").click();
  return page.locator("#rows tr").evaluateAll((lines) => lines.map((line) => [line.dataset.hour, ...[...line.querySelectorAll("td")].map((cell) => cell.textContent)]));
}

async function assertShows(page, rows) {
  const charts = await drawn(page);
  const middles = rows.map((row) => (Date.parse(row.hour) + HOUR / 2) / 1_000);
  for (const series of ["unique_users", "clicks", "impressions"]) assert.deepEqual(charts[series], [middles, rows.map((row) => row[series])], series);
  assert.deepEqual(charts.rate, [middles, rows.map(rateOf)]);
  const lines = (await table(page)).map(([hour, users, clicks, impressions, rate]) => [hour, number(users), number(clicks), number(impressions), rate]);
  const expected = rows.map((row) => [row.hour, row.unique_users, row.clicks, row.impressions, rateOf(row) === null ? "–" : percent(rateOf(row))]);
  assert.deepEqual(lines, expected.reverse().slice(0, 1_000));
  assert.equal(number(await text(page, "[data-total=clicks]")), sum(rows, "clicks"));
  assert.equal(number(await text(page, "[data-total=impressions]")), sum(rows, "impressions"));
  assert.equal(await text(page, "[data-total=rate]"), percent(sum(rows, "clicks") / sum(rows, "impressions")));
}

test("an event that is posted while the page is open shows within two seconds, in the hour, the totals, the charts and the table", async () => {
  await open();
  await page.locator("#connection[data-state=live]").waitFor();
  await table(page);
  const before = await daemon.counts();
  const total = number(await text(page, "[data-total=clicks]"));
  const posted = Date.now();
  await daemon.post("click", { user: "somebody new" });
  const shown = (before) => page.waitForFunction(
    ({ users, clicks, total }) => {
      const text = (selector) => Number(document.querySelector(selector).textContent.replaceAll(/\D/g, ""));
      const last = (series) => document.querySelector(`#charts [data-series=${series}]`).plot.data[1].at(-1);
      return text("[data-now=clicks]") === clicks && text("[data-now=unique_users]") === users && text("[data-total=clicks]") === total
        && last("clicks") === clicks && last("unique_users") === users && text("#rows tr td:nth-of-type(2)") === clicks;
    },
    before,
    { timeout: 2_000 - (Date.now() - posted), polling: 20 },
  );
  await shown({ users: before.unique_users + 1, clicks: before.clicks + 1, total: total + 1 });
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

for (const [range, hours] of Object.entries(HOURS)) {
  test(`the charts, the table and the totals of ${range} are the numbers of the hours API`, async () => {
      await open(`/?range=${range}`);
    const to = hourOf(Date.now());
    const rows = await daemon.hours(to - (hours - 1) * HOUR, to);
    assert.equal(rows.length, hours);
    await assertShows(page, rows);
  });
}

test("a chosen range of more than a thousand hours is read over all pages of the API, and drawn whole", async () => {
  const to = hourOf(Date.now()) - HOUR;
  const from = to - 1_399 * HOUR;
  await open(`/?from=${asApi(from)}&to=${asApi(to)}`);
  const rows = await daemon.hours(from, to);
  assert.equal(rows.length, 1_400);
  await assertShows(page, rows);
  await page.getByRole("button", { name: "Earlier hours" }).click();
  assert.equal((await table(page)).length, 1_400);
  assert.ok(await page.getByRole("button", { name: "Count exactly" }).isDisabled(), "the API counts users of one page only");
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
  await assertShows(page, await daemon.hours(from, to));
});

test("what is dragged over becomes the range", async () => {
  await open("/?range=7d");
  const box = await page.locator("[data-series=clicks] .u-over").boundingBox();
  const hourAt = (share) => hourOf(Date.now()) - 167 * HOUR + Math.floor(share * 168) * HOUR;
  await page.mouse.move(box.x + box.width * 0.25, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 40, { steps: 4 });
  await page.mouse.move(box.x + box.width * 0.5, box.y + 40, { steps: 4 });
  await page.mouse.up();
  await page.waitForURL(/from=/);
  const asked = new URL(page.url()).searchParams;
  // Within an hour of where the mouse was: a pixel more or less is nobody's concern.
  assert.ok(Math.abs(Date.parse(asked.get("from")) - hourAt(0.25)) <= HOUR, asked.get("from"));
  assert.ok(Math.abs(Date.parse(asked.get("to")) - hourAt(0.5)) <= HOUR, asked.get("to"));
});

test("bars are as high as their numbers, and the hour under the pointer is named with its numbers", async () => {
  await open();
  const charts = await drawn(page);
  const most = Math.max(...charts.impressions[1]);
  const index = charts.impressions[1].indexOf(most);
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
  const { width } = await over.boundingBox();
  await over.hover({ position: { x: ((index + 0.1) / 24) * width, y: 30 } });
  const [row] = await daemon.hours(hourOf(Date.now()) - (23 - index) * HOUR, hourOf(Date.now()) - (23 - index) * HOUR);
  assert.match(await text(page, "#readout"), new RegExp(`${row.hour.slice(11, 16)}–`));
  assert.equal(await text(page, "[data-series=impressions] .value"), String(row.impressions));
  assert.equal(await text(page, "[data-series=clicks] .value"), String(row.clicks));
  assert.equal(await text(page, "[data-series=unique_users] .value"), String(row.unique_users));
  assert.equal(await text(page, "[data-series=rate] .value"), percent(rateOf(row)));
});

test("hours that are over are compared with those of the period before", async () => {
  await open("/?range=7d");
  const to = hourOf(Date.now());
  const now = await daemon.hours(to - 167 * HOUR, to - HOUR);
  const then = await daemon.hours(to - 335 * HOUR, to - 169 * HOUR);
  assert.equal(now.length, then.length);
  for (const name of ["clicks", "impressions"]) {
    const [before, after] = [sum(then, name), sum(now, name)];
    const share = Math.round(((after - before) / before) * 1_000) / 1_000;
    const shown = (await page.locator(`[data-change=${name}]`).textContent()).replaceAll(",", "");
    assert.match(shown, new RegExp(`${before} → ${after}$`));
    const expected = share === 0 ? "unchanged" : `${share > 0 ? "▲ up" : "▼ down"} ${percent(Math.abs(share))}`;
    assert.ok(shown.startsWith(expected), `${shown} should begin with ${expected}`);
  }
  const rates = [then, now].map((rows) => percent(sum(rows, "clicks") / sum(rows, "impressions")));
  assert.match(await page.locator("[data-change=rate]").textContent(), new RegExp(`${rates[0]} → ${rates[1]}$`));
  assert.match(await text(page, "#comparison"), /^Compared: the 167 hours that are over/);
});

test("unique users of a range are not shown until they are asked for, and then exact", async () => {
  await open("/?range=7d");
  assert.equal(await text(page, "#unique-value"), "Count exactly");
  await page.getByRole("button", { name: "Count exactly" }).click();
  await page.getByRole("button", { name: "Count again" }).waitFor();
  const to = hourOf(Date.now());
  const from = to - 167 * HOUR;
  const answer = await (await fetch(`${daemon.origin}/analytics/hours?from=${asApi(from)}&to=${asApi(to)}`)).json();
  const shown = number(await text(page, "#unique-value span"));
  assert.equal(shown, answer.unique_users);
  const summed = sum(answer.hours, "unique_users");
  assert.ok(shown < summed, `${shown} users, who make ${summed} in the hours: else this test could not tell them apart`);
  await page.getByLabel("24 hours").check();
  await until(() => text(page, "#unique-value"), (shown) => assert.equal(shown, "Count exactly", "another range has other users"));
});

test("the address says what is looked at, and back goes back", async () => {
  await open();
  await page.getByLabel("30 days").check();
  await page.waitForURL(`${daemon.origin}/?range=30d`);
  await page.getByLabel("Local").check();
  await page.waitForURL(`${daemon.origin}/?range=30d&zone=local`);
  await page.goBack();
  await page.goBack();
  await page.waitForURL(`${daemon.origin}/`);
  await until(() => drawn(page), (charts) => assert.equal(charts.clicks[0].length, 24));
  assert.ok(await page.getByLabel("24 hours").isChecked());
  assert.ok(await page.getByLabel("UTC").isChecked());
});

test("a range that comes late does not take the place of the one that was chosen since", async () => {
  await open();
  let release;
  const released = new Promise((resolve) => (release = resolve));
  const asked = new Promise((resolve) => page.route(/\/analytics\/hours\?/, async (route) => {
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

test("a day begins in the chart also where hours begin at half past", async () => {
  await open("/?zone=local", { timezoneId: "Asia/Kolkata" });
  const labels = await page.evaluate(() => document.querySelector("#charts [data-series=rate]").plot.axes[0]._values.filter(Boolean));
  assert.ok(labels.some((label) => /^\d+ [A-Z]/.test(label)), labels.join(", "));
});

test("times are of UTC or of the reader's place", async () => {
  await open("/", { timezoneId: "Asia/Kolkata" });
  const hour = asApi(hourOf(Date.now())).slice(11, 16);
  assert.ok((await text(page, "#now-span")).startsWith(`${hour}–`));
  assert.match(await text(page, "#now-span"), /UTC$/);
  await page.getByLabel("Local").check();
  const there = asApi(hourOf(Date.now()) + 5.5 * HOUR).slice(11, 16);
  await until(() => text(page, "#now-span"), (span) => assert.ok(span.startsWith(`${there}–`) && span.endsWith("GMT+5:30"), span));
  const [[, ...cells]] = await table(page);
  assert.equal(cells.length, 4);
  assert.match(await page.locator("#rows th").first().innerText(), /GMT\+5:30$/);
});

for (const [range, hours] of [["24h", 24], ["30d", 720]]) {
  test(`the CSV of ${range} is the API's, byte for byte`, async () => {
      await open(`/?range=${range}`);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV" }).click()]);
    const to = hourOf(Date.now());
    const from = to - (hours - 1) * HOUR;
    assert.equal(download.suggestedFilename(), `analytics-${asApi(from).slice(0, 13)}Z-${asApi(to).slice(0, 13)}Z.csv`);
    assert.equal(await readFile(await download.path(), "utf8"), await daemon.csv(from, to));
  });
}

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

test("when an hour ends the page goes on to the next by itself", async () => {
  // The stream is told by hand here, since no test can wait for an hour to end.
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
  const hour = hourOf(Date.now());
  const next = asApi(hour + HOUR);
  for (let step = 0; step < 3; step++) await page.locator("#charts").press("ArrowLeft");
  const readout = await text(page, "#readout");
  assert.ok(readout.includes(`${asApi(hour - 2 * HOUR).slice(11, 16)}–`), readout);
  await page.evaluate((hour) => window.tell({ hour, unique_users: 1, clicks: 2, impressions: 3 }), asApi(hour));
  await page.evaluate((hour) => window.tell({ hour, unique_users: 0, clicks: 0, impressions: 0 }), next);
  await until(() => drawn(page), (charts) => assert.equal(charts.clicks[0].at(-1), (hour + 1.5 * HOUR) / 1_000));
  assert.equal((await drawn(page)).clicks[0].length, 24);
  assert.equal(await text(page, "#readout"), readout, "the hour that is pointed at stays");
  assert.ok((await text(page, "#now-span")).startsWith(`${next.slice(11, 16)}–`));
});

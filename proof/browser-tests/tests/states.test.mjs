import assert from "node:assert/strict";
import { afterEach, after, before, test } from "node:test";
import { openPage, ready, startBrowser } from "../support/browser.mjs";
import { HOUR, asApi, awayFromTheEndOfTheHour, hourOf, startDaemon } from "../support/daemon.mjs";
import { startFaultyFront } from "../support/faulty-front.mjs";
import { traffic } from "../support/traffic.mjs";
import { until } from "../support/until.mjs";

let browser, daemon, empty, front, page;
const state = (name) => page.locator(`#range-card[data-state=${name}]`);
const connection = (name) => page.locator(`#connection[data-state=${name}]`);
const banner = () => page.locator("#banner");

before(async () => {
  [browser, daemon, empty] = await Promise.all([startBrowser(), startDaemon(), startDaemon()]);
  await daemon.postAll(traffic({ hours: 200, most: 60 }));
});
after(() => Promise.all([browser?.close(), daemon?.close(), empty?.close()]));
afterEach(async () => {
  const complaints = page?.complaints;
  await Promise.all([page?.context().close(), front?.close()]);
  page = front = undefined;
  // A test that failed half-way leaves it stopped.
  await daemon.start();
  assert.deepEqual(complaints ?? [], [], "what the browser complained about");
});

async function assertFits() {
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `the content is ${content} px wide, the window ${window}`);
}

test("a counter without events says so and how to send the first, and shows it when it comes", async () => {
  page = await openPage(browser, empty.origin);
  await state("new").waitFor();
  await connection("live").waitFor();
  assert.equal(await page.locator("#notice-title").innerText(), "No events yet");
  for (const control of ["#range", "#chosen", ".exports", "#totals", "#numbers", "#go-there"]) assert.ok(await page.locator(control).isHidden(), control);
  const command = await page.locator("#first-curl").innerText();
  assert.match(await page.locator("#first-snippet").innerText(), new RegExp(`<script async src="${empty.origin}/analytics.js"></script>`));
  // What it says to do is what works.
  const [, url] = command.match(/^curl -X POST "(.*)"$/);
  const response = await fetch(url.replace("$(date +%s)", String(Math.floor(Date.now() / 1_000))), { method: "POST" });
  assert.equal(response.status, 204);
  await state("ready").waitFor();
  await page.locator("#charts canvas").first().waitFor();
  assert.equal(await page.locator("[data-now=impressions]").innerText(), "1");
});

test("a range without events says when the newest are, and goes there with one click", async () => {
  await awayFromTheEndOfTheHour();
  const last = hourOf(Date.now());
  await daemon.post("impression", { user: "newest" });
  page = await openPage(browser, `${daemon.origin}/?from=1990-05-01T00:00Z&to=1990-05-02T00:00Z`);
  await state("empty").waitFor();
  assert.equal(await page.locator("#notice-title").innerText(), "No events in this range");
  assert.match(await page.locator("#notice-text").innerText(), new RegExp(`^The newest events are of .*, ${asApi(last).slice(11, 16)}–`));
  assert.ok(await page.locator("#first-event").isHidden());
  for (const control of [".exports", "#numbers"]) assert.ok(await page.locator(control).isHidden(), control);
  await page.getByRole("button", { name: "Go there" }).click();
  await ready(page);
  const day = 24 * HOUR;
  const midnight = Math.floor(last / day) * day;
  assert.equal(new URL(page.url()).search, `?from=${asApi(midnight - 6 * day)}&to=${asApi(midnight + 23 * HOUR)}`);
});

test("while a range is being read the page says so", async () => {
  front = await startFaultyFront(daemon.origin);
  front.hold("/analytics/periods");
  page = await openPage(browser, `${front.origin}/?range=30d`);
  await page.getByRole("heading", { name: "Loading these 30 days…" }).waitFor();
  assert.equal(await page.locator("#range-card").getAttribute("aria-busy"), "true");
  assert.ok(await page.getByRole("button", { name: "CSV" }).isHidden());
});

test("when the daemon stops the page says so, keeps what it knows, and goes on without a reload when it is back at the same port", async () => {
  page = await openPage(browser, daemon.origin);
  await ready(page);
  await connection("live").waitFor();
  const clicks = await page.locator("[data-total=clicks]").innerText();
  assert.ok(await banner().isHidden());

  await daemon.stop();
  await connection("daemon").waitFor();
  await banner().waitFor();
  assert.equal(await page.locator("#banner-title").innerText(), "The daemon does not answer");
  assert.match(await page.locator("#banner-text").innerText(), /^Since \d\d:\d\d:\d\d UTC\. The numbers below are of \d\d:\d\d:\d\d UTC\. Trying again (in \d+ s|now)\.$/);
  assert.match(await page.locator("#announcer").textContent(), /The daemon does not answer/);
  assert.equal(await page.locator("[data-total=clicks]").innerText(), clicks);

  await page.evaluate(() => (window.isSamePage = true));
  await daemon.start();
  // What came while it could not listen is there as well.
  await daemon.post("click", { user: "while away", timestamp: hourOf(Date.now()) - 2 * HOUR });
  await connection("live").waitFor();
  await banner().waitFor({ state: "hidden" });
  const expected = Number(clicks.replaceAll(",", "")) + 1;
  await page.waitForFunction((expected) => Number(document.querySelector("[data-total=clicks]").textContent.replaceAll(",", "")) >= expected, expected);
  await daemon.post("click", { user: "afterwards" });
  await page.waitForFunction((expected) => Number(document.querySelector("[data-total=clicks]").textContent.replaceAll(",", "")) >= expected, expected + 1);
  assert.ok(await page.evaluate(() => window.isSamePage), "it is the same page");
});

test("nobody has to wait for the next attempt", async () => {
  page = await openPage(browser, daemon.origin);
  await connection("live").waitFor();
  await daemon.stop();
  // A daemon that is ending may answer once more, so the page finds out that it is away by its own next attempt.
  await connection("daemon").waitFor();
  // Timers stand still from here on: only the button can bring the page back.
  await page.evaluate(() => {
    for (let timer = setTimeout(() => {}, 0); timer > 0; timer -= 1) clearTimeout(timer);
    window.setTimeout = () => 0;
  });
  await daemon.start();
  await page.getByRole("button", { name: "Try now" }).click();
  await connection("live").waitFor();
});

test("when the database is away the page says so, and goes on by itself when it is back", async () => {
  front = await startFaultyFront(daemon.origin);
  page = await openPage(browser, front.origin);
  await ready(page);
  await connection("live").waitFor();
  front.loseDatabase();
  await connection("database").waitFor();
  assert.equal(await page.locator("#banner-title").innerText(), "The database does not answer");
  front.heal();
  await connection("live").waitFor();
  await banner().waitFor({ state: "hidden" });
});

test("a page that is opened while the database is away says so in place of the charts, and fills when it is back", async () => {
  front = await startFaultyFront(daemon.origin);
  front.loseDatabase();
  page = await openPage(browser, front.origin);
  await state("error").waitFor();
  await connection("database").waitFor();
  assert.match(await page.locator("#notice-text").innerText(), /The database does not answer\./);
  assert.equal(await page.locator("[data-total=clicks]").innerText(), "–");
  front.heal();
  await ready(page);
  assert.notEqual(await page.locator("[data-total=clicks]").innerText(), "–");
});

test("a page that asked too often fills by itself", async () => {
  front = await startFaultyFront(daemon.origin);
  // The first message of the stream causes the second request.
  front.refuse("/analytics/periods", 429, 2);
  page = await openPage(browser, front.origin);
  await state("error").waitFor();
  await ready(page);
});

test("a stream that ends is taken up again, and is no alarm", async () => {
  front = await startFaultyFront(daemon.origin);
  page = await openPage(browser, front.origin);
  await connection("live").waitFor();
  await page.evaluate(() => {
    window.states = [];
    const pill = document.querySelector("#connection");
    new MutationObserver(() => window.states.push(pill.dataset.state)).observe(pill, { attributes: true });
  });
  front.heal();
  await connection("reconnecting").waitFor();
  await connection("live").waitFor();
  const states = await page.evaluate(() => window.states.filter((state, at, all) => state !== all[at - 1]));
  assert.deepEqual(states, ["reconnecting", "live"]);
});

test("a counter that asks for a token is opened with one, which the tab remembers", async () => {
  front = await startFaultyFront(daemon.origin);
  front.lock("an_right");
  page = await openPage(browser, front.origin);
  const form = page.getByRole("form", { name: "This counter asks for a token" });
  await form.waitFor();
  await connection("locked").waitFor();
  const prompt = page.locator("#locked-text");
  assert.equal(await prompt.innerText(), "Enter a token with scope read: whoever runs this counter has one. It is kept until this tab closes.");
  for (const control of ["#banner", "#now", "#range-card", "#zone"]) assert.ok(await page.locator(control).isHidden(), control);
  assert.equal((await page.locator("main").innerText()).match(/token with scope/g).length, 1, "it asks once");
  await page.getByRole("textbox", { name: "Token" }).fill("an_wrong");
  await page.getByRole("textbox", { name: "Token" }).press("Enter");
  await until(() => prompt.innerText(), (text) => assert.match(text, /^That token is not valid, or no longer valid\. Enter/));
  await page.getByRole("textbox", { name: "Token" }).fill("an_right");
  await page.getByRole("button", { name: "Open" }).click();
  await ready(page);
  await connection("live").waitFor();
  assert.ok(await form.isHidden());
  await page.reload();
  await ready(page);
  await connection("live").waitFor();
  // A token that was taken back is asked for again, and what was shown stays.
  front.lock("an_new");
  await form.waitFor();
  assert.ok(await page.locator("#range-card").isVisible());
  await page.getByRole("textbox", { name: "Token" }).fill("an_new");
  await page.getByRole("button", { name: "Open" }).click();
  await connection("live").waitFor();
});

test("what the API refuses is answered with what it says, once, and without a button that would not help", async () => {
  const now = asApi(hourOf(Date.now()));
  page = await openPage(browser, `${daemon.origin}/?site=nosuch`);
  await state("error").waitFor();
  await connection("refused").waitFor();
  assert.ok(await banner().isHidden());
  const { title, detail } = await (await fetch(`${daemon.origin}/analytics/periods?from=${now}&to=${now}&step=hour&site=nosuch`)).json();
  assert.equal(await page.locator("#notice-title").innerText(), title);
  assert.equal(await page.locator("#notice-text").innerText(), detail.replaceAll("`", ""));
  assert.equal(await page.locator("#notice-text code").first().innerText(), detail.split("`")[1]);
  assert.ok(await page.getByRole("button", { name: "Try again" }).isHidden());
});

test("a range that ends before it begins is not asked for, and another range works", async () => {
  const now = hourOf(Date.now());
  page = await openPage(browser, daemon.origin);
  await ready(page);
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.getByLabel("Choose…").check();
  await page.getByLabel("From").fill(asApi(now).slice(0, 16));
  await page.getByLabel("To", { exact: true }).fill(asApi(now - HOUR).slice(0, 16));
  await page.getByRole("button", { name: "Show" }).click();
  await state("error").waitFor();
  assert.equal(await page.locator("#notice").innerText(), "The range ends before it begins");
  assert.deepEqual(asked.filter((url) => new URL(url).searchParams.get("from") === asApi(now)), []);
  await page.getByLabel("24 hours").check();
  await ready(page);
});

test("at 360 pixels nothing has to be scrolled sideways, in any state", async () => {
  front = await startFaultyFront(daemon.origin);
  // Hours of a year in which nothing happened.
  page = await openPage(browser, `${daemon.origin}/?from=1990-05-01T00:00Z&to=1990-05-02T00:00Z`, { viewport: { width: 360, height: 740 } });
  await state("empty").waitFor();
  await page.getByRole("button", { name: "Go there" }).waitFor();
  await assertFits();
  await page.goto(empty.origin);
  await page.locator("#numbers, #first-event").first().waitFor({ state: "attached" });
  await assertFits();
  await page.goto(`${front.origin}/?range=7d`);
  await ready(page);
  await assertFits();
  await page.locator("#numbers summary").click();
  await page.getByLabel("Choose…").check();
  await page.locator("#chosen").waitFor();
  await assertFits();
  front.loseDatabase();
  await connection("database").waitFor();
  await assertFits();
  await page.reload();
  await state("error").waitFor();
  await assertFits();
  front.heal();
  front.lock("an_token");
  await page.locator("#locked").waitFor();
  await assertFits();
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { openPage } from "../support/browser.mjs";
import { startDaemon } from "../support/daemon.mjs";
import { startSite } from "../support/site.mjs";
import { until } from "../support/until.mjs";
import { assertCounted, browser, counted, daemon, leave, page, sent, site, visit } from "../support/visit.mjs";

const DAY = 86_400_000;

const visitor = () => page.evaluate(() => localStorage.getItem("analytics-visitor"));

test("loading a page is an impression, a click on what is marked is a click, and a click on anything else is nothing", async () => {
  await visit("/");
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 1 });
  await page.getByRole("button", { name: "Look" }).click();
  await page.getByRole("button", { name: "Buy" }).click();
  await page.getByRole("button", { name: "Buy" }).press("Enter");
  await assertCounted({ unique_users: 1, clicks: 2, impressions: 1 });
});

test("a click within a marked link counts although it leaves the page, and the visitor stays the same across pages", async () => {
  await visit("/");
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 1 });
  await page.locator("#offer b").click();
  await page.waitForURL(/second\.html$/);
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 2 });
  assert.equal(new Set(sent.map(({ user }) => user)).size, 1);
  assert.match(sent[0].user, /^[0-9a-f]{32}$/);
  assert.equal(new Set(sent.map(({ id }) => id)).size, 3, "each event has an id of its own");
});

test("a middle click on a marked link, which opens it beside the page, is a click, and no other button's is", async () => {
  await visit("/");
  await page.locator("#offer b").click({ button: "right" });
  await page.getByRole("button", { name: "Buy" }).click({ button: "middle" });
  await page.locator("#offer b").click({ button: "middle" });
  // The page behind it is opened, and is an impression of its own, which a new tab may send before anybody watches it.
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 1, impressions: 2 }));
  assert.equal(sent.filter(({ event }) => event === "click").length, 1);
});

test("events go to where the script came from, below whatever path that is", async () => {
  const below = (url) => url.replace(daemon.origin, `${daemon.origin}/stats`);
  await visit(null, { edit: (html) => html.replaceAll(daemon.origin, below(daemon.origin)) });
  const asked = [];
  await page.context().route(/\/stats\//, async (route) => {
    asked.push(new URL(route.request().url()).pathname);
    await route.fulfill({ response: await route.fetch({ url: route.request().url().replace("/stats/", "/") }) });
  });
  await page.goto(site.origin);
  await page.getByRole("button", { name: "Buy" }).click();
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 1, impressions: 1 }));
  assert.deepEqual(asked, ["/stats/analytics.js", "/stats/analytics", "/stats/analytics"]);
  // What is counted is not answered yet: an answer that comes when the page is gone would fail whatever test runs then.
  await page.context().unrouteAll({ behavior: "wait" });
});

test("another browser is another visitor", async () => {
  await visit("/");
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 1 });
  const other = await openPage(browser, site.origin);
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 2, clicks: 0, impressions: 2 }));
  await other.context().close();
});

test("a click on a marked label, which clicks its checkbox too, is one click, and so is one on the checkbox", async () => {
  await visit("/second.html");
  await page.getByText("Send me the newsletter").click();
  assert.ok(await page.locator("#newsletter").isChecked());
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 1 });
  await page.locator("#newsletter").click();
  await assertCounted({ unique_users: 1, clicks: 2, impressions: 1 });
});

test("a click counts even if the page stops it on its way", async () => {
  await visit("/");
  await page.evaluate(() => document.querySelector("[data-analytics-click]").addEventListener("click", (event) => event.stopImmediatePropagation()));
  await page.getByRole("button", { name: "Buy" }).click();
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 1 });
});

test("in a single-page app each other path is an impression, back and forward too, and another place of the same path is none", async () => {
  await visit("/app.html");
  await page.getByRole("button", { name: "Inbox", exact: true }).click();
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 2 });
  await page.getByRole("button", { name: "Newest in the inbox" }).click();
  await page.getByRole("button", { name: "Archive" }).click();
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 3 });
  await page.goBack();
  await page.waitForFunction(() => location.hash === "#newest");
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 4 });
  // From inbox#newest to inbox: the same path.
  await page.goBack();
  await page.waitForFunction(() => location.hash === "");
  await page.evaluate(() => history.replaceState(null, "", "elsewhere"));
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 5 });
  await page.getByRole("button", { name: "window.analytics.click()" }).click();
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 5 });
});

for (const [name, refuse] of [
  ["Do-Not-Track", () => Object.defineProperty(navigator, "doNotTrack", { get: () => "1" })],
  ["Global Privacy Control", () => Object.defineProperty(navigator, "globalPrivacyControl", { get: () => true })],
]) {
  test(`with ${name} nothing is sent, nothing stored, and a page's own calls do no harm`, async () => {
    await visit("/app.html", { prepare: (page) => page.addInitScript(refuse) });
    await page.waitForFunction(() => window.analytics);
    await page.getByRole("button", { name: "Inbox", exact: true }).click();
    await page.getByRole("button", { name: "window.analytics.click()" }).click();
    await page.goto(`${site.origin}/`);
    await page.getByRole("button", { name: "Buy" }).click();
    assert.equal(await visitor(), null);
    assert.deepEqual(await page.context().cookies(), []);
    assert.deepEqual(sent, []);
    // Who does not refuse, afterwards, is counted: so nothing of the above was merely late.
    const other = await openPage(browser, site.origin);
    await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 0, impressions: 1 }));
    await other.context().close();
  });
}

test("a visitor's number is renewed a year after it was drawn, and not before", async () => {
  const old = (days) => `${"0123456789abcdef".repeat(2)}.${Date.now() - days * DAY}`;
  const keep = old(364);
  await visit(null);
  await page.goto(site.origin);
  await page.evaluate((value) => localStorage.setItem("analytics-visitor", value), keep);
  await page.reload();
  await until(() => sent.length, (count) => assert.equal(count, 2));
  assert.equal(sent[1].user, keep.slice(0, 32));
  assert.equal(await visitor(), keep, "a visit does not prolong it");
  await page.evaluate((value) => localStorage.setItem("analytics-visitor", value), old(366));
  await page.reload();
  await until(() => sent.length, (count) => assert.equal(count, 3));
  assert.notEqual(sent[2].user, keep.slice(0, 32));
  const [id, created] = (await visitor()).split(".");
  assert.equal(id, sent[2].user);
  assert.ok(Math.abs(Date.now() - created) < 60_000);
});

test("a site may have its visitors forgotten earlier, but not later", async () => {
  for (const [days, age, isKept] of [["30", 29, true], ["30", 31, false], ["9999", 364, true], ["9999", 366, false], ["soon", 364, true]]) {
    await visit(null, { edit: (html) => html.replace("<script async", `<script async data-lifetime-days="${days}"`) });
    const value = `${"f".repeat(32)}.${Date.now() - age * DAY}`;
    await page.addInitScript((value) => localStorage.setItem("analytics-visitor", value), value);
    await page.goto(site.origin);
    await until(() => sent.length, (count) => assert.equal(count, 1));
    assert.equal(sent[0].user === "f".repeat(32), isKept, `data-lifetime-days=${days} after ${age} days`);
    await leave();
  }
});

test("where localStorage is refused a cookie of the site holds the number", async () => {
  const refuse = () => Object.defineProperty(window, "localStorage", { get: () => { throw new DOMException("refused", "SecurityError"); } });
  await visit("/", { prepare: (page) => page.addInitScript(refuse) });
  await page.goto(`${site.origin}/second.html`);
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 2 });
  const [cookie] = await page.context().cookies();
  assert.equal(cookie.name, "analytics-visitor");
  assert.equal(cookie.sameSite, "Lax");
  assert.equal(cookie.value.slice(0, 32), sent[0].user);
  assert.ok(Math.abs(cookie.expires * 1_000 - Date.now() - 365 * DAY) < DAY, "for a year");
});

test("where nothing can be stored a page's events are of one visitor all the same", async () => {
  const refuse = () => {
    for (const [owner, name] of [[window, "localStorage"], [Document.prototype, "cookie"]]) {
      Object.defineProperty(owner, name, { get: () => { throw new DOMException("refused", "SecurityError"); } });
    }
  };
  await visit("/", { prepare: (page) => page.addInitScript(refuse) });
  await page.getByRole("button", { name: "Buy" }).click();
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 1 });
});

test("a counter with tokens counts the pages of the origin that its public key is for, and shows the page to a token that may read", async () => {
  const closed = await startDaemon();
  const sites = [await startSite(closed.origin, { edit: (html) => html.replace("<script async", `<script async data-key="${key}"`) })];
  let key, other;
  try {
    key = await closed.createToken("site", "--public", "--origin", sites[0].origin);
    const token = await closed.createToken("reader", "--scope", "read");
    // The same key on a page of another origin.
    sites.push(await startSite(closed.origin, { edit: (html) => html.replace("<script async", `<script async data-key="${key}"`) }));
    const read = async () => {
      const response = await fetch(`${closed.origin}/analytics?timestamp=${Date.now()}`, { headers: { authorization: `Bearer ${token}` } });
      return response.ok ? response.text() : response.status;
    };
    await until(read, (text) => assert.match(String(text), /^unique_users,0$/m));
    other = await openPage(browser, sites[1].origin);
    await other.getByRole("button", { name: "Buy" }).click();
    await other.goto(sites[0].origin);
    await other.getByRole("button", { name: "Buy" }).click();
    await until(read, (text) => assert.equal(text, "unique_users,1\nclicks,1\nimpressions,1\n"));

    await other.goto(closed.origin);
    await other.getByRole("textbox", { name: "Token" }).fill(token);
    await other.getByRole("textbox", { name: "Token" }).press("Enter");
    await other.locator("#connection[data-state=live]").waitFor();
    await other.waitForFunction(() => document.querySelector("[data-now=clicks]").textContent === "1");
  } finally {
    await Promise.all([other?.context().close(), closed.close(), ...sites.map((site) => site.close())]);
  }
});

test("data-auto=false counts no page by itself, but clicks and calls", async () => {
  await visit("/app.html", { edit: (html) => html.replace("<script async", '<script async data-auto="false"') });
  await page.waitForFunction(() => window.analytics);
  await page.getByRole("button", { name: "Inbox", exact: true }).click();
  await page.getByRole("button", { name: "window.analytics.click()" }).click();
  await page.evaluate(() => window.analytics.impression());
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 1 });
});

test("a script that is there twice counts once", async () => {
  await visit("/", { edit: (html) => html.replace(/<script async.*<\/script>/, "$&$&") });
  await page.waitForLoadState("load");
  await page.getByRole("button", { name: "Buy" }).click();
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 1 });
});

test("a library of the same name on the page is left alone, and counting works", async () => {
  await visit("/", { prepare: (page) => page.addInitScript(() => (window.analytics = { track: "theirs" })) });
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 1 });
  assert.deepEqual(await page.evaluate(() => window.analytics), { track: "theirs" });
});

test("a page that is shown again from the browser's memory is an impression", async () => {
  await visit("/");
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 1 });
  // Headless browsers under a debugger do not keep pages, so the event is told by hand.
  await page.evaluate(() => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true })));
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 2 });
  await page.evaluate(() => dispatchEvent(new PageTransitionEvent("pageshow", { persisted: false })));
  await page.evaluate(() => window.analytics.click());
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 2 });
});

test("a page that is loaded in case it is wanted counts when it is shown", async () => {
  await visit("/", { prepare: (page) => page.addInitScript(() => Object.defineProperty(document, "prerendering", { get: () => !window.isShown })) });
  await page.waitForFunction(() => window.analytics);
  await page.evaluate(() => window.analytics.click());
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 0 });
  await page.evaluate(() => {
    window.isShown = true;
    document.dispatchEvent(new Event("prerenderingchange"));
  });
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 1 });
});

test("a counter that is away does the page no harm", async () => {
  await visit(null);
  await page.context().route(/\/analytics\?/, (route) => route.abort("connectionrefused"));
  await page.goto(site.origin);
  await page.waitForFunction(() => window.analytics);
  await page.evaluate(() => {
    for (const broken of ["crypto", "URLSearchParams"]) Object.defineProperty(window, broken, { get: () => { throw new Error("broken"); } });
    window.analytics.click();
  });
  await page.getByRole("button", { name: "Buy" }).click();
  // That nothing was thrown into the page is seen afterwards, by what the browser complained about.
  assert.ok(await page.getByRole("button", { name: "Buy" }).isEnabled());
});

test("without scripts the GIF is an impression", async () => {
  await visit("/", { javaScriptEnabled: false });
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 0, impressions: 1 }));
});

test("the script is small, and says how it may be kept", async () => {
  const response = await fetch(`${daemon.origin}/analytics.js`);
  assert.ok((await response.text()).length < 10_240);
  assert.equal(response.headers.get("cache-control"), "public, max-age=3600");
  assert.equal(response.headers.get("access-control-allow-origin"), "*");
});

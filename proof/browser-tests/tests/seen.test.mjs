// What counts as seen, and by whom: tabs, frames, routes, prefetches, one's own visits.

import assert from "node:assert/strict";
import { test } from "node:test";
import { openPage } from "../support/browser.mjs";
import { until } from "../support/until.mjs";
import { assertCounted, browser, counted, daemon, page, sent, site, tries, visit } from "../support/visit.mjs";

const attribute = (text) => ({ edit: (html) => html.replace("<script async", `<script async ${text}`) });
const one = (impressions, clicks = 0) => ({ unique_users: 1, clicks, impressions });
/** The script has run: what it counts by itself is on its way. */
const isLoaded = () => page.waitForFunction(() => window.analytics);

test("a tab that is opened in the background counts once it is seen, and once only", async () => {
  await visit(null);
  const { targetInfo } = await (await page.context().newCDPSession(page)).send("Target.getTargetInfo");
  const target = { url: site.origin, background: true, browserContextId: targetInfo.browserContextId };
  const protocol = await browser.newBrowserCDPSession();
  const opened = page.context().waitForEvent("page");
  await protocol.send("Target.createTarget", target);
  const tab = await opened;
  // It begins hidden, and becomes visible when the protocol takes hold of it.
  await tab.waitForFunction(() => document.visibilityState === "visible");
  await until(counted, (counts) => assert.deepEqual(counts, one(1)));
  await tab.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await tab.getByRole("button", { name: "Buy" }).click();
  await until(counted, (counts) => assert.deepEqual(counts, one(1, 1)));
});

test("a page that is never seen counts nothing, also if its routes change, and one impression when it is seen", async () => {
  const hide = () => Object.defineProperty(document, "visibilityState", { get: () => (window.isSeen ? "visible" : "hidden") });
  await visit("/app.html", { prepare: (page) => page.addInitScript(hide) });
  await isLoaded();
  await page.getByRole("button", { name: "Inbox", exact: true }).click();
  await page.getByRole("button", { name: "window.analytics.click()" }).click();
  await assertCounted(one(0, 1));
  await page.evaluate(() => {
    window.isSeen = true;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await assertCounted(one(1, 1));
  await page.getByRole("button", { name: "Archive" }).click();
  await assertCounted(one(2, 1));
});

const withoutNavigation = (page) => page.addInitScript(() => delete window.navigation);
const withAnElementOfThatName = (page) => page.addInitScript(() => {
  delete window.navigation;
  delete window.Navigation;
  addEventListener("DOMContentLoaded", () => (document.querySelector("nav").id = "navigation"));
});

test("the Navigation API's routes count like those of pushState, each once", async () => {
  await visit("/app.html");
  await isLoaded();
  await page.evaluate(() => {
    navigation.addEventListener("navigate", (event) => event.canIntercept && event.navigationType !== "reload" && event.intercept({ async handler() {} }));
  });
  const go = (url, options) => page.evaluate(([url, options]) => navigation.navigate(url, options).finished.then(() => location.pathname), [url, options]);
  assert.equal(await go("/inbox"), "/inbox");
  await assertCounted(one(2));
  await go("/inbox?page=2");
  await go("/inbox#newest", { history: "replace" });
  await go("/archive", { history: "replace" });
  await assertCounted(one(3));
  // A link that the page's handler intercepts, without any call.
  await page.getByRole("link", { name: "Second page" }).click();
  await page.waitForURL(/second\.html$/);
  await assertCounted(one(4));
  await page.evaluate(() => navigation.back().finished);
  await assertCounted(one(5));
  // Two ways at once are one route.
  await page.evaluate(() => (history.pushState(null, "", "/both"), history.replaceState({}, "", "/both")));
  await assertCounted(one(6));
});

for (const [name, prepare] of [["with the Navigation API", undefined], ["without it", withoutNavigation], ["where an element has its name", withAnElementOfThatName]]) {
  test(`each path of a single-page app is an impression ${name}`, async () => {
    await visit("/app.html", { prepare });
    await isLoaded();
    await page.getByRole("button", { name: "Inbox", exact: true }).click();
    await page.getByRole("button", { name: "Newest in the inbox" }).click();
    await page.getByRole("button", { name: "Archive" }).click();
    await assertCounted(one(3));
    await page.goBack();
    await page.waitForFunction(() => location.hash === "#newest");
    await assertCounted(one(4));
  });

  test(`with data-hash each hash is a page of its own, ${name}`, async () => {
    await visit("/app.html#/start", { prepare, ...attribute("data-hash") });
    await isLoaded();
    await page.evaluate(() => (location.hash = "#/inbox"));
    await assertCounted(one(2));
    await page.evaluate(() => (location.hash = "#/inbox"));
    await page.evaluate(() => history.pushState(null, "", "#/archive"));
    await assertCounted(one(3));
    await page.goBack();
    await page.waitForFunction(() => location.hash === "#/inbox");
    await assertCounted(one(4));
  });
}

test("without data-hash another hash is no page", async () => {
  await visit("/app.html#/start");
  await isLoaded();
  await page.evaluate(() => (location.hash = "#/inbox"));
  await page.evaluate(() => window.analytics.click());
  await assertCounted(one(1, 1));
});

test("a page in a frame counts if it is asked to, or by its own calls", async () => {
  for (const [text, impressions, clicks] of [["", 1, 1], ['data-frames="false"', 1, 1], ["data-frames", 2, 2]]) {
    await visit("/", attribute(text));
    await isLoaded();
    await page.evaluate(() => {
      const frame = document.createElement("iframe");
      frame.src = "/app.html?framed";
      document.body.append(frame);
    });
    await page.waitForFunction(() => frames[0]?.analytics);
    await page.frameLocator("iframe").getByRole("button", { name: "window.analytics.click()" }).evaluate((button) => {
      button.setAttribute("data-analytics-click", "");
      button.click();
    });
    await assertCounted(one(impressions, clicks + 0), text);
  }
});

test("automated browsers count, unless the page leaves them out", async () => {
  await visit("/");
  assert.ok(await page.evaluate(() => navigator.webdriver));
  await assertCounted(one(1));
  await visit("/", attribute('data-webdriver="false"'));
  await isLoaded();
  await page.getByRole("button", { name: "Buy" }).click();
  assert.equal(await page.evaluate(() => localStorage.length), 0);
  const person = await openPage(browser, "about:blank");
  await person.addInitScript(() => Object.defineProperty(navigator, "webdriver", { get: () => false }));
  await person.goto(site.origin);
  await until(counted, (counts) => assert.deepEqual(counts, one(1)));
  await person.context().close();
  assert.deepEqual(tries, []);
});

test("#analytics-off switches the visits of a browser off until #analytics-on, for all pages of the site", async () => {
  await visit("/#analytics-off");
  await isLoaded();
  await page.getByRole("button", { name: "Buy" }).click();
  await page.goto(`${site.origin}/second.html`);
  await isLoaded();
  await page.evaluate(() => window.analytics.impression());
  assert.equal(await page.evaluate(() => localStorage.getItem("analytics-visitor")), "off");
  const other = await openPage(browser, site.origin);
  await until(counted, (counts) => assert.deepEqual(counts, one(1)));
  await other.context().close();
  assert.deepEqual(tries, []);
  await page.goto(`${site.origin}/#analytics-on`);
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 2, clicks: 0, impressions: 2 }));
  // In an open page too, as typed into its address.
  await page.evaluate(() => (location.hash = "#analytics-off"));
  await page.waitForFunction(() => localStorage.getItem("analytics-visitor") === "off");
  await page.getByRole("button", { name: "Buy" }).click();
  await page.evaluate(() => (location.hash = "#analytics-on"));
  await page.waitForFunction(() => localStorage.getItem("analytics-visitor") !== "off");
  await page.getByRole("button", { name: "Buy" }).click();
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 3, clicks: 1, impressions: 2 }));
  assert.equal(sent.length, 2);
});

test("one's own visits stay off where a cookie holds what localStorage does not", async () => {
  const refuse = () => Object.defineProperty(window, "localStorage", { get: () => { throw new DOMException("refused", "SecurityError"); } });
  await visit("/#analytics-off", { prepare: (page) => page.addInitScript(refuse) });
  await isLoaded();
  await page.goto(`${site.origin}/second.html`);
  await isLoaded();
  await page.evaluate(() => window.analytics.click());
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.name, cookie.value], ["analytics-visitor", "off"]);
  assert.deepEqual(tries, []);
});

test("a pixel that is prefetched counts when the page shows it, and not before", async () => {
  await visit(null, { javaScriptEnabled: true });
  const pixel = `${daemon.origin}/analytics.gif?user=anna`;
  const asked = [];
  page.context().on("response", (response) => response.url() === pixel && asked.push(response.status()));
  await page.goto(`${site.origin}/demo.css`);
  await page.evaluate((href) => new Promise((resolve) => {
    const link = Object.assign(document.createElement("link"), { rel: "prefetch", href });
    link.onload = link.onerror = resolve;
    document.head.append(link);
  }), pixel);
  await until(() => asked.length, (count) => assert.equal(count, 1));
  assert.deepEqual(await counted(), { unique_users: 0, clicks: 0, impressions: 0 });
  await page.evaluate((src) => document.body.append(Object.assign(new Image(), { src })), pixel);
  await until(counted, (counts) => assert.deepEqual(counts, one(1)));
});

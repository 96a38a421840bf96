import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { closePage, openPage, ready, startBrowser } from "../support/browser.mjs";
import { awayFromTheEndOfTheHour, startDaemon } from "../support/daemon.mjs";
import { until } from "../support/until.mjs";

let daemon, browser, page;

before(async () => {
  await awayFromTheEndOfTheHour();
  [daemon, browser] = await Promise.all([startDaemon("--share-links", "--allow-anonymous"), startBrowser()]);
  for (const site of ["shop", "blog", "press"]) await daemon.createSite(site);
  for (const [site, events] of [[undefined, ["click"]], ["shop", ["click", "impression", "impression"]], ["blog", ["impression"]], ["press", ["impression", "impression"]]]) {
    for (const event of events) await daemon.post(event, { site });
  }
});
after(() => Promise.all([daemon?.close(), browser?.close()]));
beforeEach(() => awayFromTheEndOfTheHour());
afterEach(async () => {
  const closing = closePage(page);
  page = undefined;
  await closing;
});

async function open(query) {
  page = await openPage(browser, daemon.origin + query);
  await ready(page);
}

/** Waits until something is so. */
const comes = (ask) => until(ask, (is) => assert.ok(is));
const total = (series) => page.locator(`[data-total=${series}]`).innerText();
const now = (series) => page.locator(`[data-now=${series}]`).innerText();
const shows = (clicks, impressions) => comes(async () => (await total("clicks")) === clicks && (await total("impressions")) === impressions && (await now("impressions")) === impressions);

test("a site is chosen, the title names it, and its numbers are shown and no others, also after going back", async () => {
  await open("/");
  await shows("1", "0");
  assert.equal(await page.title(), "Analytics");
  await page.getByRole("combobox", { name: "Site" }).selectOption("shop");
  await shows("1", "2");
  assert.equal(await page.title(), "shop – Analytics");
  assert.equal(new URL(page.url()).search, "?site=shop");
  await daemon.post("impression", { site: "shop", user: "ben" });
  await shows("1", "3");
  await daemon.post("impression", { site: "blog", user: "ben" });
  await page.goBack();
  await shows("1", "0");
  assert.equal(await page.title(), "Analytics");
});

test("the sites are compared, and one of them is chosen from there", async () => {
  await open("/?site=blog");
  await page.getByText("The sites compared").click();
  const rows = page.locator("#compared-rows tr");
  await comes(async () => (await rows.count()) === 4);
  const names = await rows.locator("th").allInnerTexts();
  assert.deepEqual([...names].sort(), ["Without a name", "blog", "press", "shop"]);
  assert.deepEqual(await rows.filter({ hasText: "shop" }).locator("td").allInnerTexts(), ["2", "1", "3", "33.3%"]);
  await page.locator("#compared-rows").getByRole("button", { name: "shop" }).click();
  await comes(async () => (await page.title()) === "shop – Analytics");
});

test("a long name fits into a narrow page", async () => {
  const name = "x".repeat(64);
  await daemon.createSite(name);
  await comes(async () => (await fetch(`${daemon.origin}/analytics?timestamp=0&site=${name}`)).ok);
  page = await openPage(browser, `${daemon.origin}/?site=${name}`, { viewport: { width: 320, height: 640 } });
  await comes(async () => (await page.title()) === `${name} – Analytics`);
  await comes(() => page.locator("#site").isVisible());
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
});

test("numbers of one site that come late are not shown under another", async () => {
  await open("/?site=blog");
  let release;
  const held = new Promise((resolve) => (release = resolve));
  const asked = page.waitForRequest((request) => request.url().includes("/analytics/periods?") && request.url().includes("site=shop"));
  await page.route("**/analytics/periods?*site=shop*", async (route) => {
    await held;
    // Nobody may wait for it any more.
    await route.continue().catch(() => {});
  });
  await page.getByRole("combobox", { name: "Site" }).selectOption("shop");
  await asked;
  await page.getByRole("combobox", { name: "Site" }).selectOption("press");
  release();
  await shows("0", "2");
  assert.equal(await total("unique_users"), "1");
});

test("a share link shows its one site and no chooser, until it is revoked", async () => {
  const share = await daemon.createToken("for the partner", "--share", "--site", "press");
  await comes(async () => (await fetch(`${daemon.origin}/analytics/sites`, { headers: { authorization: `Bearer ${share}` } })).ok);
  await open(`/?share=${share}`);
  await comes(async () => (await page.title()) === "press – Analytics");
  await shows("0", "2");
  assert.equal(await page.locator("#site-field").isVisible(), false);
  assert.equal(await page.locator("#compared").isVisible(), false);
  const other = await fetch(`${daemon.origin}/analytics?timestamp=0&site=shop`, { headers: { authorization: `Bearer ${share}` } });
  assert.equal(other.status, 403);
  await daemon.revokeToken("for the partner");
  await page.locator("#locked").waitFor({ timeout: 20_000 });
});

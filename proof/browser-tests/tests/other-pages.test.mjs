import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { openPage, startBrowser } from "../support/browser.mjs";
import { startDaemon } from "../support/daemon.mjs";

const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };

let browser, daemon, page;

before(async () => {
  [browser, daemon] = await Promise.all([startBrowser(), startDaemon()]);
});
after(() => Promise.all([browser?.close(), daemon?.close()]));
afterEach(async () => {
  await page?.context().close();
  page = undefined;
});

const width = () => page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);

test("the interface for programs fits a phone, each of its parts open", async () => {
  page = await openPage(browser, `${daemon.origin}/docs/`, PHONE);
  const parts = page.locator(".opblock-summary-control");
  await parts.first().waitFor();
  assert.ok((await parts.count()) > 5);
  for (const part of await parts.all()) await part.click();
  await page.locator(".responses-table").last().waitFor();
  assert.deepEqual(await width(), [360, 360]);
  assert.deepEqual(page.complaints, []);
});

test("an address without anything says so as a page, which leads to the counts", async () => {
  page = await openPage(browser, `${daemon.origin}/hours/yesterday`, PHONE);
  assert.equal(await page.getByRole("heading").textContent(), "Not found");
  await page.getByText("There is nothing at /hours/yesterday.").waitFor();
  assert.deepEqual(await width(), [360, 360]);
  assert.deepEqual(page.complaints, []);
  await page.getByRole("link", { name: "See the counts" }).click();
  await page.waitForURL(`${daemon.origin}/`);
});

// Chromium without a window.

import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const ARGUMENTS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** playwright gives each start an empty profile of its own. A browser that runs as root refuses its sandbox. */
export function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    chromiumSandbox: process.getuid?.() !== 0,
    args: ARGUMENTS,
  });
}

/** A page in a context of its own, and what it complained about: every test expects none. */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "UTC", acceptDownloads: true, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  page.on("console", (message) => {
    // That a daemon is away is what some tests are about.
    if (message.type() === "error" && !/Failed to load resource/.test(message.text())) page.complaints.push(message.text());
  });
  await page.goto(url);
  return page;
}

/** Closes a page, if there is one, that must not have complained. */
export async function closePage(page) {
  const complaints = page?.complaints ?? [];
  await page?.context().close();
  assert.deepEqual(complaints, [], "what the browser complained about");
}

/** The page shows a range, and knows the period before it. */
export async function ready(page) {
  await page.locator("#range-card[data-state=ready]:not([aria-busy])").waitFor();
}

// Takes a picture of each state of the page into docs/screenshots/: ANALYTICSD=… npm run screenshots

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { openPage, ready, startBrowser } from "./support/browser.mjs";
import { HOUR, asApi, hourOf, startDaemon } from "./support/daemon.mjs";
import { startFaultyFront } from "./support/faulty-front.mjs";
import { traffic } from "./support/traffic.mjs";

const folder = fileURLToPath(new URL("../../docs/screenshots/", import.meta.url));
await mkdir(folder, { recursive: true });

const browser = await startBrowser();
const daemon = await startDaemon();
const front = await startFaultyFront(daemon.origin);
const wide = { viewport: { width: 1120, height: 700 } };
const dark = { ...wide, colorScheme: "dark" };
const narrow = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true };

async function picture(name, url, options, prepare = ready) {
  const page = await openPage(browser, url, { reducedMotion: "reduce", ...options });
  await prepare(page);
  await page.screenshot({ path: `${folder}${name}.png`, fullPage: true });
  await page.context().close();
  console.log(name);
}

try {
  const empty = (page) => page.locator("#range-card[data-state=empty]:not([aria-busy])").waitFor();
  await picture("empty", daemon.origin, wide, empty);
  await picture("empty-narrow", daemon.origin, narrow, empty);
  await daemon.postAll(traffic({ hours: 60 * 24, most: 240 }));
  const pointAt = (page) => ready(page).then(async () => {
    await page.locator("#charts").focus();
    for (let step = 0; step < 9; step++) await page.keyboard.press("ArrowLeft");
  });
  await picture("day", daemon.origin, wide);
  await picture("day-dark-hour", daemon.origin, dark, pointAt);
  await picture("week", `${daemon.origin}/?range=7d`, wide, async (page) => {
    await ready(page);
    await page.getByRole("button", { name: "Count exactly" }).click();
    await page.getByRole("button", { name: "Count again" }).waitFor();
  });
  await picture("month-dark", `${daemon.origin}/?range=30d&zone=local`, dark);
  await picture("chosen", `${daemon.origin}/?from=${asApi(hourOf(Date.now()) - 130 * HOUR)}&to=${asApi(hourOf(Date.now()) - 70 * HOUR)}`, wide);
  await picture("narrow", daemon.origin, narrow);
  await picture("table", `${daemon.origin}/?range=7d`, wide, async (page) => {
    await ready(page);
    await page.getByText("The same numbers as a table").click();
  });
  front.hold("/analytics/hours");
  await picture("loading", `${front.origin}/?range=30d`, wide, (page) => page.getByText("Loading these 30 days…").waitFor());
  front.heal();
  await picture("database-away", front.origin, wide, async (page) => {
    await ready(page);
    front.loseDatabase();
    await page.getByText("The database does not answer").first().waitFor();
  });
  await picture("database-away-at-first", front.origin, dark, (page) => page.locator("#range-card[data-state=error]").waitFor());
  front.heal();
  await picture("daemon-away", front.origin, wide, async (page) => {
    await ready(page);
    await front.close();
    await page.getByText("The daemon does not answer").first().waitFor();
  });
} finally {
  await browser.close();
  await front.close();
  await daemon.close();
}

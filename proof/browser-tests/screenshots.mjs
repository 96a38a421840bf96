// Takes the pictures of the page that the documents show into docs/screenshots/: ANALYTICSD=… npm run screenshots

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { openPage, ready, startBrowser } from "./support/browser.mjs";
import { startDaemon } from "./support/daemon.mjs";
import { traffic } from "./support/traffic.mjs";

const folder = fileURLToPath(new URL("../../docs/screenshots/", import.meta.url));
await mkdir(folder, { recursive: true });

const browser = await startBrowser();
const daemon = await startDaemon();
const wide = { viewport: { width: 1120, height: 700 } };
const narrow = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true };

async function picture(name, query, options, prepare = ready) {
  const page = await openPage(browser, `${daemon.origin}/${query}`, { reducedMotion: "reduce", timezoneId: "Europe/Berlin", ...options });
  await prepare(page);
  await page.screenshot({ path: `${folder}${name}.png`, fullPage: true });
  await page.context().close();
  console.log(name);
}

try {
  await daemon.postAll(traffic({ hours: 60 * 24, most: 240 }));
  await picture("day", "", wide);
  await picture("week", "?range=7d", wide);
  await picture("narrow", "", narrow);
} finally {
  await browser.close();
  await daemon.close();
}

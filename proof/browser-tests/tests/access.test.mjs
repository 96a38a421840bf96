import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import axe from "axe-core";
import { openPage, ready, startBrowser } from "../support/browser.mjs";
import { HOUR, asApi, awayFromTheEndOfTheHour, hourOf, startDaemon } from "../support/daemon.mjs";
import { startFaultyFront } from "../support/faulty-front.mjs";
import { traffic } from "../support/traffic.mjs";

let browser, daemon, empty, front, page;

before(async () => {
  [browser, daemon, empty] = await Promise.all([startBrowser(), startDaemon(), startDaemon()]);
  await daemon.postAll(traffic({ hours: 50, most: 40 }));
});
after(() => Promise.all([browser?.close(), daemon?.close(), empty?.close()]));
afterEach(async () => {
  await Promise.all([page?.context().close(), front?.close()]);
  page = front = undefined;
});

/** Nothing that axe knows of, its best practices included. */
async function assertAccessible() {
  await page.evaluate(axe.source);
  const { violations, passes } = await page.evaluate(() => window.axe.run(document));
  assert.ok(passes.length > 10, "axe did look");
  assert.deepEqual(violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`), []);
}

test("axe would find a fault", async () => {
  page = await openPage(browser, daemon.origin);
  await ready(page);
  await page.evaluate(() => document.querySelector("#readout").style.setProperty("color", "#eee"));
  await assert.rejects(assertAccessible(), /color-contrast/);
});

/** Each brings the page into a state. */
const STATES = {
  async "an empty counter"(open) {
    await open(empty.origin);
    await page.locator("#range-card[data-state=new]").waitFor();
    await page.locator("#connection[data-state=live]").waitFor();
  },
  async "traffic, with an hour pointed at, the table open and a range to choose"(open) {
    await open(daemon.origin);
    await ready(page);
    await page.locator("#numbers summary").click();
    await page.getByLabel("Choose…").check();
    await page.locator("#charts").press("ArrowLeft");
  },
  async "a range without events"(open) {
    await open(`${daemon.origin}/?from=1990-05-01T00:00Z&to=1990-05-02T00:00Z`);
    await page.getByRole("button", { name: "Go there" }).waitFor();
  },
  async "a range that is being read"(open) {
    front.hold("/analytics/periods");
    await open(front.origin);
    await page.getByText("Loading these 24 hours…").waitFor();
  },
  async "a database that went away"(open) {
    await open(front.origin);
    await ready(page);
    front.loseDatabase();
    await page.locator("#connection[data-state=database]").waitFor();
  },
  async "a database that was away from the start"(open) {
    front.loseDatabase();
    await open(front.origin);
    await page.locator("#range-card[data-state=error]").waitFor();
  },
  async "a counter that asks for a token"(open) {
    front.lock("an_token");
    await open(front.origin);
    await page.locator("#locked").waitFor();
  },
  async "a daemon that went away"(open) {
    await open(front.origin);
    await ready(page);
    await front.close();
    await page.locator("#connection[data-state=daemon]").waitFor();
  },
};

for (const [state, prepare] of Object.entries(STATES)) {
  for (const colorScheme of ["light", "dark"]) {
    for (const [width, name] of [[1_100, "wide"], [360, "narrow"]]) {
      test(`axe finds nothing in the page of ${state}, ${colorScheme} and ${name}`, async () => {
        front = await startFaultyFront(daemon.origin);
        await prepare(async (url) => (page = await openPage(browser, url, { colorScheme, reducedMotion: "reduce", viewport: { width, height: 800 } })));
        await assertAccessible();
      });
    }
  }
}

test("arrow keys move from hour to hour, and what is there is spoken", async () => {
  await awayFromTheEndOfTheHour();
  page = await openPage(browser, daemon.origin);
  await ready(page);
  const now = hourOf(Date.now());
  const rows = (await daemon.periods(now - 23 * HOUR, now, "hour")).periods;
  const spoken = async (index) => {
    const row = rows[index];
    const said = await page.locator("#announcer").textContent();
    assert.ok(said.includes(`${row.from.slice(11, 16)}–`), `${said} should be of ${row.from}`);
    assert.ok(said.includes(`: ${row.unique_users} unique users, ${row.clicks} clicks, ${row.impressions} impressions, click-through rate `), `${said} should be of ${JSON.stringify(row)}`);
    assert.equal(await page.locator(".tooltip .value").nth(2).innerText(), String(row.impressions));
  };
  await page.locator("#charts").focus();
  for (const [key, index] of [["ArrowLeft", 23], ["ArrowLeft", 22], ["ArrowLeft", 21], ["ArrowRight", 22], ["PageUp", 0], ["ArrowLeft", 0], ["PageDown", 23], ["Home", 0], ["End", 23], ["ArrowRight", 23]]) {
    await page.keyboard.press(key);
    await spoken(index);
  }
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#announcer").textContent(), "No period");
  assert.ok(await page.locator(".tooltip").isHidden());
});

test("an event that comes does not move the hour that is pointed at", async () => {
  await awayFromTheEndOfTheHour();
  page = await openPage(browser, daemon.origin);
  await ready(page);
  await page.locator("#connection[data-state=live]").waitFor();
  for (let step = 0; step < 3; step++) await page.locator("#charts").press("ArrowLeft");
  const tooltip = () => page.locator(".tooltip strong").innerText();
  const pointed = await tooltip();
  const { clicks } = await daemon.counts();
  await daemon.post("click");
  await page.waitForFunction((clicks) => document.querySelector("#charts [data-series=clicks]").plot.data[2].at(-1) === clicks, clicks + 1);
  assert.equal(await tooltip(), pointed);
  assert.ok(pointed.includes(`${asApi(hourOf(Date.now()) - 2 * HOUR).slice(11, 16)}–`), pointed);
});

test("everything that can be used is reached by the tab key, shows that it is, and works without a mouse", async () => {
  page = await openPage(browser, daemon.origin, { timezoneId: "Europe/Berlin" });
  await ready(page);
  const reached = [];
  for (let step = 0; step < 30; step++) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const { activeElement: element } = document;
      if (element === document.body) return null;
      const shown = [element, element.nextElementSibling].filter(Boolean).some((one) => {
        const style = getComputedStyle(one);
        return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
      });
      return { name: element.id || element.name || element.className || element.localName, shown };
    });
    if (at === null) break;
    assert.ok(at.shown, `${at.name} does not show its focus`);
    reached.push(at.name);
    // The place of a radio button is the group's; opened here so that what is inside is reached as well.
    if (at.name === "summary") await page.keyboard.press("Enter");
    if (at.name === "range") {
      await page.keyboard.press("ArrowRight");
      await page.waitForURL(/range=7d/);
      await ready(page);
    }
  }
  for (const name of ["skip", "zone", "range", "export-csv", "export-png", "charts", "summary", "scroll"]) {
    assert.ok(reached.includes(name), `${name} is not among ${reached}`);
  }
});

test("who wants less motion gets none", async () => {
  page = await openPage(browser, daemon.origin, { reducedMotion: "reduce" });
  await ready(page);
  await page.locator("#connection[data-state=live]").waitFor();
  assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  await page.emulateMedia({ reducedMotion: "no-preference" });
  assert.notEqual(await page.evaluate(() => document.getAnimations().length), 0, "else this test could not fail");
});

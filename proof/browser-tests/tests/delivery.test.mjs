// How what was seen arrives: by whichever way is open, again when the counter was busy, and once.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { openPage } from "../support/browser.mjs";
import { startDaemon } from "../support/daemon.mjs";
import { startFaultyFront } from "../support/faulty-front.mjs";
import { startSite } from "../support/site.mjs";
import { until } from "../support/until.mjs";
import { assertCounted, browser, counted, daemon, expectComplaints, leave, page, sent, site, tries, visit } from "../support/visit.mjs";

const POLICY_COMPLAINT = /Content Security Policy/;
const buy = () => page.getByRole("button", { name: "Buy" }).click();
const pending = () => page.evaluate(() => Object.keys(localStorage).filter((name) => name.startsWith("analytics-pending-")));
const distinct = (field) => new Set(tries.map((one) => one[field])).size;

/** A policy as sites have them. */
const policy = ({ connect, image }) => ({
  "content-security-policy": `default-src 'self'; script-src 'self' ${daemon.origin}; connect-src ${connect ? daemon.origin : "'none'"}; img-src data: ${image ? daemon.origin : "'self'"}`,
});

const fetches = {
  "fetch works": () => {},
  "fetch is missing": () => delete window.fetch,
  "fetch keeps no request alive": () => delete Request.prototype.keepalive,
  "fetch is replaced by what fails": () => (window.fetch = () => Promise.reject(new Error("replaced"))),
};
const beacons = {
  "beacons work": () => {},
  "beacons are missing": () => delete Navigator.prototype.sendBeacon,
  "beacons are refused": () => (Navigator.prototype.sendBeacon = () => false),
};

for (const [fetching, prepareFetch] of Object.entries(fetches)) {
  for (const [beaconing, prepareBeacon] of Object.entries(beacons)) {
    for (const [connect, image] of [[true, true], [true, false], [false, true], [false, false]]) {
      const isOpen = image || (connect && (!/missing|fails/.test(fetching) || beaconing === "beacons work"));
      const name = `${fetching}, ${beaconing}, connections are ${connect ? "allowed" : "forbidden"} and images ${image ? "allowed" : "forbidden"}`;
      test(`where ${name}, ${isOpen ? "each event is counted once" : "nothing harms the page"}`, async () => {
        const prepare = (page) => Promise.all([page.addInitScript(prepareFetch), page.addInitScript(prepareBeacon)]);
        expectComplaints(POLICY_COMPLAINT);
        await visit("/", { headers: policy({ connect, image }), prepare });
        await buy();
        if (isOpen) await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 1, impressions: 1 }));
        assert.ok(await page.getByRole("button", { name: "Buy" }).isEnabled());
      });
    }
  }
}

test("fetch comes first, and nothing else follows where it arrives", async () => {
  await visit("/");
  await buy();
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 1 });
  assert.deepEqual(tries.map(({ by, to }) => `${by} ${to}`), ["fetch /analytics", "fetch /analytics"]);
});

test("once an image arrived where a connection failed, a click that leaves the page counts", async () => {
  expectComplaints(POLICY_COMPLAINT);
  await visit("/", { headers: policy({ connect: false, image: true }) });
  await until(counted, ({ impressions }) => assert.equal(impressions, 1));
  await page.locator("#offer b").click();
  await page.waitForURL(/second\.html$/);
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 1, impressions: 2 }));
});

test("an image tells a public key which site the page is of, whatever the page's policy on referrers", async () => {
  const closed = await startDaemon();
  let key, ours, other;
  try {
    const edit = (html) => html.replace("<script async", `<meta name="referrer" content="no-referrer"><script async data-key="${key}"`);
    const headers = { "content-security-policy": "connect-src 'none'" };
    ours = await startSite(closed.origin, { edit, headers });
    key = await closed.createToken("site", "--public", "--origin", ours.origin);
    const token = await closed.createToken("reader", "--scope", "read");
    const read = async () => (await fetch(`${closed.origin}/analytics?timestamp=${Date.now()}`, { headers: { authorization: `Bearer ${token}` } })).text();
    await until(read, (text) => assert.match(text, /^impressions,0$/m));
    other = await openPage(browser, ours.origin);
    await until(read, (text) => assert.match(text, /^impressions,1$/m));
  } finally {
    await Promise.all([other?.context().close(), ours?.close(), closed.close()]);
  }
});

test("what exceeds a rate limit is sent again, and counts once", async () => {
  const limited = await startDaemon("--rate-limit-per-token", "1/s:1");
  let key, ours, other;
  try {
    ours = await startSite(limited.origin, { edit: (html) => html.replace("<script async", `<script async data-key="${key}"`) });
    key = await limited.createToken("site", "--public", "--origin", ours.origin);
    const token = await limited.createToken("reader", "--scope", "read");
    const read = async () => (await fetch(`${limited.origin}/analytics?timestamp=${Date.now()}`, { headers: { authorization: `Bearer ${token}` } })).text();
    await until(read, (text) => assert.match(text, /^impressions,0$/m));
    other = await openPage(browser, "about:blank");
    const statuses = [];
    other.on("response", async (response) => /\/analytics\?/.test(response.url()) && statuses.push(response.status()));
    await other.goto(ours.origin);
    await other.evaluate(() => document.querySelector("[data-analytics-click]").click());
    await until(read, (text) => assert.equal(text, "unique_users,1\nclicks,1\nimpressions,1\n"), 30);
    assert.ok(statuses.includes(429), `answers: ${statuses}`);
  } finally {
    await Promise.all([other?.context().close(), ours?.close(), limited.close()]);
  }
});

const front = {};
after(() => front.itself?.close());
/** A visit whose events pass the front. */
async function visitByFront(path, { trouble = () => {}, ...options } = {}) {
  await front.itself?.close();
  front.itself = await startFaultyFront(daemon.origin);
  trouble(front.itself);
  await visit(path, { counter: front.itself.origin, ...options });
}

for (const status of [429, 500, 502, 503]) {
  test(`after answers of ${status} an event is sent again under the same id, by the same way`, async () => {
    await visitByFront("/", { trouble: (front) => front.refuse("/analytics", status, 2) });
    await assertCounted({ unique_users: 1, clicks: 0, impressions: 1 });
    assert.equal(tries.length, 3);
    assert.deepEqual([distinct("id"), distinct("timestamp"), distinct("to")], [1, 1, 1]);
  });
}

test("an event that the counter refuses is not sent again", async () => {
  await visitByFront("/", { trouble: (front) => front.refuse("/analytics", 400, 1) });
  await buy();
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 1, impressions: 0 }));
  assert.equal(tries.length, 2);
});

test("an error of a proxy, which no page may read, leaves the image", async () => {
  await visitByFront("/", { trouble: (front) => front.refuse("/analytics", 502, 1, false) });
  expectComplaints(/CORS policy/);
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 1 });
  assert.deepEqual(tries.map(({ to }) => to), ["/analytics", "/analytics.gif"]);
});

test("where the proxy answers to images with errors too, the event is sent again later", async () => {
  const trouble = (front) => ["/analytics", "/analytics.gif"].forEach((path) => front.refuse(path, 502, 2, false));
  await visitByFront("/", { trouble });
  expectComplaints(/CORS policy/);
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 1 });
});

test("where connections are forbidden, an image is sent again after an error", async () => {
  expectComplaints(POLICY_COMPLAINT);
  const trouble = (front) => front.refuse("/analytics.gif", 503, 1);
  await visitByFront("/", { trouble, headers: { "content-security-policy": "connect-src 'none'" } });
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 0, impressions: 1 }));
  assert.equal(distinct("id"), 1);
});

test("an event whose answer was lost is sent again, by an image, and counts once", async () => {
  await visitByFront("/", { trouble: (front) => front.loseAnswers(1) });
  await until(() => tries.length, (count) => assert.equal(count, 2));
  await buy();
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 1 });
  assert.deepEqual([tries[0].to, tries[1].to, tries[0].id], ["/analytics", "/analytics.gif", tries[1].id]);
});

for (const [name, headers] of [["", {}], [" where connections are forbidden", { "content-security-policy": "connect-src 'none'" }]]) {
  test(`a click counts although the page is closed at once${name}`, async () => {
    expectComplaints(POLICY_COMPLAINT);
    await visit("/", { headers });
    await until(counted, ({ impressions }) => assert.equal(impressions, 1));
    await page.evaluate(() => {
      document.querySelector("[data-analytics-click]").click();
      location = "about:blank";
    });
    await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 1, impressions: 1 }));
    // The event may be faster than the page goes.
    await page.waitForURL("about:blank");
    // Its tab too.
    await page.goto(site.origin);
    await until(counted, ({ impressions }) => assert.equal(impressions, 2));
    await page.evaluate(() => document.querySelector("[data-analytics-click]").click());
    await page.close();
    await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 2, impressions: 2 }));
  });
}

test("what a page could not deliver because the counter was busy, the site's next page delivers, once", async () => {
  await visitByFront("/", { trouble: (front) => front.refuse("/analytics", 503, 1_000) });
  await buy();
  await until(() => tries.length, (count) => assert.ok(count >= 2));
  await page.goto("about:blank");
  front.itself.heal();
  await page.goto(`${site.origin}/second.html`);
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 1, impressions: 2 }));
  await until(pending, (names) => assert.deepEqual(names, []));
  await page.reload();
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 3 });
});

test("a page that goes while an event waits tries once more", async () => {
  const answered = async (page) => void (front.answered = page.waitForResponse(/\/analytics\?/));
  await visitByFront("/", { trouble: (front) => front.refuse("/analytics", 503, 1), prepare: answered });
  assert.equal((await front.answered).status(), 503);
  await page.goto("about:blank");
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 0, impressions: 1 }));
});

test("what waits is delivered by whichever page comes first, and counts once if two try", async () => {
  await visitByFront("/", { trouble: (front) => front.refuse("/analytics", 503, 1_000) });
  await until(() => tries.length, (count) => assert.ok(count >= 1));
  // As when the reader turns to another page: this one lives, and goes on trying.
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  assert.equal((await pending()).length, 1);
  front.itself.heal();
  const second = await page.context().newPage();
  await second.goto(`${site.origin}/second.html`);
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 0, impressions: 2 }));
  await until(() => tries.filter(({ id }) => id === sent[0].id).length, (count) => assert.ok(count >= 3, "both sent it"));
  await until(pending, (names) => assert.deepEqual(names, []));
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 2 });
});

test("what a blocker kept from being sent is not left to later pages, and what waited for more than a day is dropped", async () => {
  await visit(null);
  await page.context().route(/\/analytics(\.gif)?\?/, (route) => route.abort("blockedbyclient"));
  await page.goto(site.origin);
  // By fetch, by an image, and by a beacon.
  await until(() => tries.length, (count) => assert.ok(count >= 3));
  await page.context().unrouteAll({ behavior: "wait" });
  const old = new URLSearchParams({ timestamp: Date.now() - 25 * 3_600_000, user: "old", event: "click", id: "old" }).toString();
  await page.evaluate((old) => localStorage.setItem("analytics-pending-old", old), old);
  await page.goto(`${site.origin}/second.html`);
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 0, impressions: 1 }));
  assert.deepEqual(await pending(), []);
  assert.ok(!tries.some(({ id }) => id === "old"));
});

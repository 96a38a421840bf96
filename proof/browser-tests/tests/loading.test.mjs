// However a page gets the script, it finds out where it is from and what its options are.

import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../support/until.mjs";
import { assertCounted, counted, daemon, expectComplaints, page, site, tries, visit } from "../support/visit.mjs";

const ELEMENT = /<script async src="([^"]*)"><\/script>/;
/** Puts what loads the script, a function of its URL, in place of the element. */
const load = (html, name = "analytics.js") => ({ edit: (page) => page.replace(ELEMENT, (_, src) => html(src.replace("analytics.js", name))) });

// With data-auto=false or the like only the click counts, so an option that was not found is an impression too many.
const ways = {
  "an element": (url) => `<script src="${url}" data-auto="false"></script>`,
  "an element with parameters": (url) => `<script async src="${url}?auto=false"></script>`,
  "a module": (url) => `<script type="module" src="${url}" data-auto="false"></script>`,
  "a module with parameters": (url) => `<script type="module" src="${url}?auto=false"></script>`,
  "import()": (url) => `<script>import("${url}?auto=false")</script>`,
  "an import statement": (url) => `<script type="module">import "${url}?auto=false";</script>`,
  "an element that a script inserts": (url) => `<script>{
    const script = document.createElement("script");
    script.src = "${url}";
    script.dataset.auto = "false";
    document.head.append(script);
  }</script>`,
  "a module that a script inserts, with a member": (url) => `<script>
    window.analyticsOptions = { auto: false };
    document.head.append(Object.assign(document.createElement("script"), { src: "${url}", type: "module" }));
  </script>`,
  "eval, which is told": (url) => `<script>
    window.analyticsOptions = { src: "${url}", auto: false };
    fetch("${url}").then((answer) => answer.text()).then((text) => (0, eval)(text));
  </script>`,
  "a Function, which is told": (url) => `<script>
    window.analyticsOptions = { src: "${url}", auto: false };
    fetch("${url}").then((answer) => answer.text()).then((text) => new Function(text)());
  </script>`,
  "a blob, which is told": (url) => `<script>
    window.analyticsOptions = { src: "${url}", auto: false };
    fetch("${url}").then((answer) => answer.blob()).then((blob) => {
      const script = document.createElement("script");
      script.src = URL.createObjectURL(blob);
      document.head.append(script);
    });
  </script>`,
  "text in the page, which is told": (url) => `<script>
    window.analyticsOptions = { src: "${url}", auto: false };
    fetch("${url}").then((answer) => answer.text()).then((text) => {
      const script = document.createElement("script");
      script.textContent = text;
      document.head.append(script);
    });
  </script>`,
};
// A loader that is not told where the script is from still finds the usual name, and options in the URL or the element.
const untold = {
  "eval": (url) => `<script>fetch("${url}?auto=false").then((answer) => answer.text()).then((text) => (0, eval)(text));</script>`,
  "a Function": (url) => `<script>fetch("${url}?auto=false").then((answer) => answer.text()).then((text) => new Function(text)());</script>`,
  "a blob": (url) => `<script>fetch("${url}?auto=false").then((answer) => answer.blob()).then((blob) => import(URL.createObjectURL(blob)));</script>`,
  "eval by a script that is loaded itself": (url) => `<script>window.evaluateFrom = "${url}?auto=false";</script><script src="loader.js"></script>`,
  "a loader that replaces the type of elements": (url) => `<script type="text/later" src="${url}" data-auto="false"></script><script>{
    const later = document.querySelector('[type="text/later"]');
    fetch(later.src).then((answer) => answer.text()).then((text) => (0, eval)(text));
  }</script>`,
};

async function assertLoaded(html, name) {
  await visit(null, load(html, name));
  const loader = `fetch(window.evaluateFrom).then((answer) => answer.text()).then((text) => (0, eval)(text));`;
  await page.route(/loader\.js$/, (route) => route.fulfill({ contentType: "text/javascript", body: loader }));
  await page.goto(site.origin);
  await page.waitForFunction(() => window.analytics);
  await page.getByRole("button", { name: "Buy" }).click();
  await assertCounted({ unique_users: 1, clicks: 1, impressions: 0 });
}

for (const name of ["analytics.js", "x7.js"]) {
  for (const [way, html] of Object.entries(ways)) {
    test(`${name} by ${way} counts`, async () => {
      await assertLoaded(html, name);
      assert.deepEqual(tries.map(({ to }) => to), [`/${name.replace(".js", "")}`]);
    });
  }
}

for (const [way, html] of Object.entries(untold)) {
  test(`analytics.js by ${way} counts`, () => assertLoaded(html));
}

test("a text that cannot know where it is from says what to do, and does the page no harm", async () => {
  await visit(null, load((url) => `<script>fetch("${url}").then((answer) => answer.text()).then((text) => (0, eval)(text));</script>`, "x7.js"));
  const warning = page.waitForEvent("console", (message) => message.type() === "warning");
  await page.goto(site.origin);
  assert.match((await warning).text(), /set window\.analyticsOptions/);
  assert.deepEqual(tries, []);
});

test("a page that isolates itself is counted too, by connections and by images", async () => {
  const headers = { "cross-origin-embedder-policy": "require-corp", "cross-origin-opener-policy": "same-origin" };
  await visit("/", { headers });
  assert.ok(await page.evaluate(() => crossOriginIsolated));
  await assertCounted({ unique_users: 1, clicks: 0, impressions: 1 });
  expectComplaints(/Content Security Policy/);
  await visit("/", { headers: { ...headers, "content-security-policy": "connect-src 'none'" } });
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 0, impressions: 1 }));
  // The page sees that the image arrived, too.
  const loads = (src) => new Promise((resolve) => Object.assign(new Image(), { onload: () => resolve(true), onerror: () => resolve(false), src }));
  assert.ok(await page.evaluate(loads, `${daemon.origin}/analytics.gif`));
});

test("under a name of one's own a blocker of the usual ones blocks nothing, of which an image is part", async () => {
  await visit(null, { ...load((url) => `<script async src="${url}"></script>`, "x7.js"), headers: { "content-security-policy": "connect-src 'none'" } });
  expectComplaints(/Content Security Policy/);
  await page.context().route(/analytics/, (route) => route.abort("blockedbyclient"));
  await page.goto(site.origin);
  await until(counted, (counts) => assert.deepEqual(counts, { unique_users: 1, clicks: 0, impressions: 1 }));
  assert.equal(tries.at(-1).to, "/x7.gif");
});

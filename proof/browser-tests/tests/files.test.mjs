import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { test } from "node:test";

const page = new URL("../../../analyticsd/assets/page/", import.meta.url);
const read = (name) => readFile(new URL(name, page));

test("the page and all that it loads are under 150 kB", async () => {
  const loaded = (await readdir(page)).filter((name) => /\.(html|css|js|svg)$/.test(name));
  const sizes = await Promise.all(loaded.map(async (name) => (await read(name)).length));
  const sum = sizes.reduce((sum, size) => sum + size, 0);
  assert.ok(sum < 150_000, `${sum} bytes`);
});

test("what is vendored is as published", async () => {
  const rows = [...(await read("VENDORED.md")).toString().matchAll(/^\| `([^`]+)` .* `([0-9a-f]{64})` \|$/gm)];
  assert.deepEqual(rows.map(([, name]) => name), ["uplot.js", "uplot.css", "LICENSE.uplot"]);
  for (const [, name, sum] of rows) assert.equal(createHash("sha256").update(await read(name)).digest("hex"), sum, name);
});

test("the page asks nobody else for anything, and has no script or style within it", async () => {
  for (const name of (await readdir(page)).filter((name) => /\.(html|css|js|svg)$/.test(name) && name !== "uplot.js")) {
    const text = (await read(name)).toString().replaceAll("http://www.w3.org/2000/svg", "");
    assert.doesNotMatch(text, /https?:\/\/[a-z]/, name);
    if (name.endsWith(".html")) assert.doesNotMatch(text, /<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)/, name);
  }
});

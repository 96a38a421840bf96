// A daemon of one's own, with a database of its own, that goes away with the test.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

export const HOUR = 3_600_000;

export const hourOf = (instant) => Math.floor(instant / HOUR) * HOUR;
export const asApi = (instant) => new Date(instant).toISOString().replace(".000Z", "Z");

/** Starts the program that the environment names in ANALYTICSD. It is stopped and its data deleted after the test, or by close(). */
export async function startDaemon(...options) {
  const program = process.env.ANALYTICSD;
  if (!program) throw new Error("ANALYTICSD must name the daemon's program, as in ANALYTICSD=../../target/debug/analyticsd npm test");
  const dir = await mkdtemp(join(tmpdir(), "analytics-browser-"));
  const daemon = new Daemon(program, dir, options);
  await daemon.start();
  return daemon;
}

class Daemon {
  #program;
  #dir;
  #options;
  #process = null;
  #said = "";
  #listen = "127.0.0.1:0";
  origin = null;

  constructor(program, dir, options) {
    this.#program = program;
    this.#dir = dir;
    this.#options = options;
  }

  get #isRunning() {
    return this.#process !== null && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  /** Starts it if it is not running; the second time at the address it had before. */
  async start() {
    if (this.#isRunning) return;
    const child = spawn(this.#program, [`--embedded=${this.#dir}/db`, "--listen", this.#listen, ...this.#options], { stdio: ["ignore", "pipe", "pipe"] });
    this.#process = child;
    child.stderr.on("data", (text) => (this.#said = (this.#said + text).slice(-4_000)));
    for await (const line of createInterface({ input: child.stdout })) {
      const found = line.match(/^listening on (http:\/\/(.*))$/);
      if (!found) continue;
      [, this.origin, this.#listen] = found;
      child.stdout.resume();
      return;
    }
    throw new Error(`the daemon did not start: ${this.#said}`);
  }

  async stop() {
    if (!this.#isRunning) return;
    const child = this.#process;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
  }

  async close() {
    await this.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }

  /** Makes a token or a public key by the command line, which lies beside the daemon, and returns it. Once there is one, the daemon asks for one. */
  createToken(...options) {
    return this.#manage("token", "create", ...options);
  }

  revokeToken(name) {
    return this.#manage("token", "revoke", name);
  }

  /** Makes a site, and waits until the daemon knows it. */
  async createSite(name) {
    await this.#manage("site", "create", name);
    while (!(await fetch(`${this.origin}/analytics?timestamp=0&site=${name}`)).ok) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  /** Runs the command line on the daemon's database, and returns what it prints. */
  async #manage(...command) {
    const [, url] = this.#said.match(/url="?(postgres:\S+?)"?\s/);
    const environment = { ...process.env, DATABASE_URL: url };
    const { stdout } = await promisify(execFile)(join(dirname(this.#program), "analytics-cli"), command, { env: environment });
    return stdout.trim();
  }

  async post(event, { user = "anna", timestamp = Date.now(), site } = {}) {
    const query = new URLSearchParams({ timestamp, user, event, ...(site && { site }) });
    const response = await fetch(`${this.origin}/analytics?${query}`, { method: "POST" });
    if (response.status !== 204) throw new Error(`an event was answered ${response.status}: ${await response.text()}`);
  }

  /** Stores many events, in as many batches as their hours ask for. */
  async postAll(events) {
    const sorted = [...events].sort((a, b) => a.timestamp - b.timestamp);
    for (let at = 0; at < sorted.length; ) {
      const hours = new Set();
      const batch = [];
      while (at < sorted.length && batch.length < 10_000) {
        hours.add(hourOf(sorted[at].timestamp));
        if (hours.size > 256) break;
        batch.push(sorted[at++]);
      }
      const body = batch.map((event) => JSON.stringify(event)).join("\n");
      const response = await fetch(`${this.origin}/analytics/batch`, { method: "POST", body });
      if (!response.ok) throw new Error(`a batch was answered ${response.status}: ${await response.text()}`);
    }
  }

  /** The counts of an hour as the daemon has them now. */
  async counts(timestamp = Date.now()) {
    const text = await (await fetch(`${this.origin}/analytics?timestamp=${timestamp}`)).text();
    return Object.fromEntries(text.trim().split("\n").map((line) => line.split(",")).map(([name, count]) => [name, Number(count)]));
  }

  /** What the API answers for a range, in steps of a zone. */
  async periods(from, to, step, zone = "UTC") {
    const query = new URLSearchParams({ from: asApi(from), to: asApi(to), step, time_zone: zone, cut: true });
    return (await fetch(`${this.origin}/analytics/periods?${query}`)).json();
  }

  async csv(from, to) {
    return (await fetch(`${this.origin}/analytics/hours?from=${asApi(from)}&to=${asApi(to)}&format=csv`)).text();
  }
}

/** Waits for an hour to have enough left for a test that must not see it end. */
export async function awayFromTheEndOfTheHour(seconds = 60) {
  const left = hourOf(Date.now()) + HOUR - Date.now();
  if (left < seconds * 1_000) await new Promise((resolve) => setTimeout(resolve, left + 100));
}

// Listens to the current hour, and reports the state of the connection.

import { ask, isLocked } from "./daemon.js";
import { readEvents } from "./events.js";

/** How long to wait before trying again, in seconds; the last one from then on. */
const PATIENCE = [1, 2, 4, 8];

/**
 * pathOf() says where the stream is at each try. Calls onCounts({ hour, unique_users, clicks, impressions }) for each message of the daemon, and
 * onConnection({ state, since, retryAt, shard, status }) when the state changes, which is one of
 *   connecting    nothing has been received yet
 *   live          counts come as they change
 *   reconnecting  the stream broke off just now
 *   database      the daemon answers, its database does not
 *   daemon        the daemon does not answer
 *   crowded       the daemon answers, but not with a stream
 *   refused       the daemon does not tell these numbers, nor will it tell the range, which shows why
 *   locked        the daemon wants a token, or another one
 */
export function listen({ pathOf, onCounts, onConnection }) {
  let current = null;
  let timer = 0;
  let failures = 0;
  let connection = { state: "connecting", since: Date.now(), retryAt: null };

  function become(state, { retryAt = null, shard, status } = {}) {
    const since = connection.state === state ? connection.since : Date.now();
    connection = { state, since, retryAt, shard, status };
    onConnection(connection);
  }

  function take({ name, data }) {
    failures = 0;
    if (name === "unavailable") return become("database", { shard: JSON.parse(data).shard });
    if (name !== "counts") return;
    const counts = JSON.parse(data);
    if (connection.state !== "live") become("live");
    onCounts({ ...counts, hour: Date.parse(counts.hour) });
  }

  async function connect() {
    clearTimeout(timer);
    current?.abort();
    const mine = (current = new AbortController());
    // A browser has six connections to a host for all its tabs together, and a stream keeps one: only a page that is
    // seen has a stream.
    if (document.hidden) return;
    let status = 0;
    try {
      // An EventSource cannot send a token, and does not report why it failed.
      const response = await ask(pathOf(), { accept: "text/event-stream", signal: mine.signal });
      status = response.status;
      if (response.ok) for await (const event of readEvents(response.body)) if (mine === current) take(event);
    } catch {
      // The cause is found below.
    }
    if (mine !== current) return;
    // Only a token helps, and entering one starts the next try.
    if (isLocked(status)) return become("locked", { status });
    failures += 1;
    const wait = PATIENCE[Math.min(failures, PATIENCE.length) - 1] * 1_000 * (0.9 + 0.2 * Math.random());
    const retryAt = Date.now() + wait;
    timer = setTimeout(connect, wait);
    if (failures === 1 && connection.state === "live") become("reconnecting", { retryAt });
    const cause = isRefused(status) ? "refused" : await findCause();
    if (mine !== current || (cause === "crowded" && failures === 1)) return;
    become(cause, { retryAt });
  }

  document.addEventListener("visibilitychange", connect);
  connect();
  return { retry: connect };
}

/** Whether the request itself is at fault. */
const isRefused = (status) => status >= 400 && status < 500 && status !== 429;

/** Finds out without a token whether the daemon and its database answer. */
async function findCause() {
  try {
    const response = await fetch("/readyz", { cache: "no-store" });
    return response.ok ? "crowded" : "database";
  } catch {
    return "daemon";
  }
}

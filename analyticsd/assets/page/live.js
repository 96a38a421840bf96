// Listens to the current hour, and says how that goes.

/** How long to wait before trying again, in seconds; the last one from then on. */
const PATIENCE = [1, 2, 4, 8];

/**
 * Calls onCounts({ hour, unique_users, clicks, impressions }) for what the daemon tells, and onConnection({ state, since, retryAt }) when
 * the state changes, which is one of
 *   connecting    nothing has been heard yet
 *   live          counts come as they change
 *   reconnecting  the stream broke off just now
 *   database      the daemon answers, its database does not
 *   daemon        the daemon does not answer
 *   crowded       the daemon answers, but not with a stream
 */
export function listen({ onCounts, onConnection }) {
  let source = null;
  let timer = 0;
  let failures = 0;
  let attempt = 0;
  let connection = { state: "connecting", since: Date.now(), retryAt: null };

  function become(state, retryAt = null) {
    const since = connection.state === state ? connection.since : Date.now();
    connection = { state, since, retryAt };
    onConnection(connection);
  }

  function connect() {
    clearTimeout(timer);
    source?.close();
    const mine = ++attempt;
    // A browser has six connections to a host for all its tabs together, and a stream keeps one: only a page that is seen has a stream.
    if (document.hidden) return;
    source = new EventSource("/analytics/stream");
    source.addEventListener("counts", (event) => {
      failures = 0;
      const counts = JSON.parse(event.data);
      if (connection.state !== "live") become("live");
      onCounts({ ...counts, hour: Date.parse(counts.hour) });
    });
    source.addEventListener("unavailable", () => {
      failures = 0;
      become("database");
    });
    // A browser goes on by itself after some errors and not after others, and never says when: so it is done here.
    source.addEventListener("error", async () => {
      source.close();
      failures += 1;
      const wait = PATIENCE[Math.min(failures, PATIENCE.length) - 1] * 1_000 * (0.9 + 0.2 * Math.random());
      const retryAt = Date.now() + wait;
      timer = setTimeout(connect, wait);
      if (failures === 1 && connection.state === "live") become("reconnecting", retryAt);
      const cause = await findCause();
      if (mine !== attempt || (cause === "crowded" && failures === 1)) return;
      become(cause, retryAt);
    });
  }

  document.addEventListener("visibilitychange", connect);
  connect();
  return { retry: connect };
}

/** An EventSource does not tell why it failed. */
async function findCause() {
  try {
    const response = await fetch("/readyz", { cache: "no-store" });
    return response.ok ? "crowded" : "database";
  } catch {
    return "daemon";
  }
}

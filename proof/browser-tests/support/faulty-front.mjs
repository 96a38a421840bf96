// Stands in front of a daemon and passes everything on, until it is told to be as a daemon in trouble. A database that answers to nobody
// cannot be arranged from outside for an embedded one, which ends the daemon with it.

import { createServer, request } from "node:http";
import { once } from "node:events";

export async function startFaultyFront(origin) {
  let isDatabaseAway = false;
  let token = null;
  const held = new Set();
  // By path, the status of the next answers, how many of them, and whether pages may read it.
  const refused = new Map();
  let answersToLose = 0;
  const streams = new Set();

  function unavailable(answer) {
    answer.writeHead(503, { "content-type": "application/problem+json", "retry-after": "1" });
    answer.end(JSON.stringify({ type: "about:blank", title: "Unavailable", status: 503, detail: "The database does not answer." }));
  }

  function sayAway(answer) {
    answer.write("event: unavailable\ndata: {}\n\n");
  }

  const server = createServer((asked, answer) => {
    const { pathname } = new URL(asked.url, origin);
    if (held.has(pathname)) return;
    const refusal = refused.get(pathname);
    if (refusal && refusal.times-- > 0) {
      const readable = refusal.isReadable ? { "access-control-allow-origin": "*", "access-control-expose-headers": "Retry-After" } : {};
      answer.writeHead(refusal.status, { "retry-after": "1", ...readable });
      return answer.end();
    }
    if (token !== null && pathname.startsWith("/analytics/") && asked.headers.authorization !== `Bearer ${token}`) {
      answer.writeHead(401, { "content-type": "application/problem+json", "www-authenticate": "Bearer" });
      return answer.end(JSON.stringify({ status: 401, title: "Token needed", detail: "Give a token." }));
    }
    if (isDatabaseAway && ["/analytics/periods", "/readyz"].includes(pathname)) return unavailable(answer);
    if (isDatabaseAway && pathname === "/analytics/stream") {
      answer.writeHead(200, { "content-type": "text/event-stream" });
      streams.add(answer);
      return sayAway(answer);
    }
    // The token is for this front; the daemon behind it has none.
    if (token !== null) delete asked.headers.authorization;
    const passed = request(new URL(asked.url, origin), { method: asked.method, headers: asked.headers }, (got) => {
      if (asked.method === "POST" && answersToLose-- > 0) return answer.destroy();
      answer.writeHead(got.statusCode, got.headers);
      if (pathname !== "/analytics/stream") return got.pipe(answer);
      streams.add(answer);
      got.on("data", (text) => isDatabaseAway || answer.write(text));
      got.on("end", () => answer.end());
      answer.on("close", () => {
        streams.delete(answer);
        passed.destroy();
      });
    });
    passed.on("error", () => answer.destroy());
    asked.pipe(passed);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    /** From now on, what is asked there is never answered. */
    hold: (pathname) => held.add(pathname),
    /** The next requests for a path are answered with an error of a daemon or, if pages cannot read it, of a proxy. */
    refuse: (pathname, status, times, isReadable = true) => refused.set(pathname, { status, times, isReadable }),
    /** The daemon gets the next POSTs, and nobody gets its answers. */
    loseAnswers: (times) => (answersToLose = times),
    /** From now on, only who gives this token is told counts, until it is called with another one. */
    lock(next) {
      token = next;
      for (const stream of streams) stream.end();
    },
    loseDatabase() {
      isDatabaseAway = true;
      for (const stream of streams) sayAway(stream);
    },
    /** Everything is well again. Streams begin anew, as the daemon's would tell the counts. */
    heal() {
      isDatabaseAway = false;
      held.clear();
      refused.clear();
      for (const stream of streams) stream.end();
    },
    async close() {
      if (!server.listening) return;
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

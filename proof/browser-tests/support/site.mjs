// The demo site, on an origin of its own, counted by a given daemon.

import { createServer } from "node:http";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";

const FOLDER = new URL("../../../docs/demo/", import.meta.url);
const TYPES = { ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript" };

/** `edit` may change the HTML of a page, as when a test needs other attributes. `headers` are added to those of a page. */
export async function startSite(counter, { edit = (html) => html, headers = {} } = {}) {
  const server = createServer(async (asked, answer) => {
    const { pathname } = new URL(asked.url, "http://site");
    const name = pathname === "/" ? "index.html" : basename(pathname);
    try {
      let content = await readFile(new URL(name, FOLDER));
      if (name.endsWith(".html")) content = edit(content.toString().replaceAll("http://127.0.0.1:8080", counter));
      answer.writeHead(200, { "content-type": TYPES[extname(name)], ...headers });
      answer.end(content);
    } catch {
      answer.writeHead(404).end();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

// Reads server-sent events in the form that the daemon uses: an event has a name and one line of data.

/** Yields { name, data } for each event of a body, whatever its chunks are. Comments are left out. */
export async function* readEvents(body) {
  const decoder = new TextDecoder();
  let unread = "";
  // Not every browser can iterate over a stream.
  const reader = body.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      unread += decoder.decode(value, { stream: true });
      const whole = unread.split("\n\n");
      unread = whole.pop();
      for (const event of whole) {
        const field = (name) => event.match(new RegExp(`^${name}: ?(.*)$`, "m"))?.[1];
        const name = field("event");
        if (name) yield { name, data: field("data") ?? "" };
      }
    }
  } finally {
    // A reader that stops closes its connection.
    reader.cancel().catch(() => {});
  }
}

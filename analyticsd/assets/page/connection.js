// Shows whether the numbers are live and, if not, the fault, its beginning, and the next try.

const PILL = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  database: "Database away",
  daemon: "Daemon away",
  crowded: "Not live",
  refused: "Not live",
  locked: "Locked",
};

const TITLE = {
  database: "The database does not answer",
  daemon: "The daemon does not answer",
  crowded: "The daemon has no live numbers for this page",
};

export function createConnection({ pill, pillText, banner, title, text, retry, announce, clock }) {
  let connection = { state: "connecting", since: Date.now(), retryAt: null };
  let asOf = null;

  function sentence() {
    const { state, since, retryAt } = connection;
    const seconds = retryAt === null ? 0 : Math.max(0, Math.ceil((retryAt - Date.now()) / 1_000));
    const again = retryAt === null ? "The daemon keeps looking for it, and this page goes on by itself." : seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again now.";
    const numbers = asOf === null ? "" : ` The numbers below are of ${clock(asOf)}.`;
    const why = state === "crowded" ? " It answers, but as many listen as may, or something between cuts the stream off." : "";
    return `Since ${clock(since)}.${why}${numbers} ${again}`;
  }

  function render() {
    const { state } = connection;
    pill.dataset.state = state;
    pillText.textContent = PILL[state];
    banner.hidden = !(state in TITLE);
    if (banner.hidden) return;
    title.textContent = connection.shard === undefined ? TITLE[state] : `The database of shard ${connection.shard} does not answer`;
    text.textContent = sentence();
    retry.hidden = connection.retryAt === null;
  }

  // The countdown is only visible; a screen reader announces changes.
  setInterval(() => !banner.hidden && render(), 1_000);

  return {
    show(next) {
      const before = connection.state;
      connection = next;
      render();
      if (before === next.state || (before === "connecting" && next.state === "live")) return;
      announce(next.state === "live" ? "The numbers are live again." : TITLE[next.state] ?? PILL[next.state]);
    },
    /** When the shown numbers were last known to be right. */
    seen(instant) {
      asOf = instant;
    },
    get state() {
      return connection.state;
    },
  };
}

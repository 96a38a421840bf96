// What stands in place of the charts: loading, an error, no events in the range, or no events at all.

import { parameterOf } from "./periods.js";
import { nameOf } from "./range.js";

export function createNotice({ card, notice, title, text, retry, goThere, firstEvent, curl, snippet }) {
  /** The state of the card decides what else of it is seen. */
  function say(state, ...[heading, ...sentences]) {
    card.dataset.state = state;
    notice.hidden = false;
    title.textContent = heading;
    text.textContent = sentences.filter(Boolean).join(" ");
    firstEvent.hidden = state !== "new";
    goThere.hidden = state !== "empty";
    retry.hidden = state !== "error";
  }

  return {
    hide() {
      card.dataset.state = "ready";
      notice.hidden = true;
    },
    sayLoading: (range) => say("loading", `Loading ${nameOf(range)}…`),
    sayFailure: ({ title, detail, status }) => say("error", title, detail, status === 429 || status >= 500 ? "Trying again every few seconds." : ""),
    /** Nothing in the range, but elsewhere. */
    sayEmpty: (range, newest) => say("empty", `No events in ${nameOf(range)}`, `The newest events are of ${newest}.`),
    /** Nothing at all. */
    sayNew(site) {
      const ofSite = site === null ? "" : ` data-site="${site}"`;
      curl.textContent = `curl -X POST "${location.origin}/analytics?timestamp=$(date +%s)000&user=anna&event=impression${parameterOf(site)}"`;
      snippet.textContent = `<script async src="${location.origin}/analytics.js"${ofSite}></script>\n<a href="/buy" data-analytics-click>Buy</a>`;
      say("new", "No events yet", "They show here as soon as they are stored. To send the first:");
    },
  };
}

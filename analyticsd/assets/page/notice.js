// What stands in place of the charts: loading, an error, no events in the range, or no events at all.

import { parameterOf } from "./periods.js";
import { nameOf } from "./range.js";

/** The daemon marks names in its sentences as Markdown does. */
const marked = (sentences) => sentences.split("`").map((part, index) => (index % 2 ? Object.assign(document.createElement("code"), { textContent: part }) : part));

export function createNotice({ card, notice, title, text, retry, goThere, firstEvent, curl, snippet }) {
  /** The state of the card decides what else of it is seen. */
  function say(state, ...[heading, ...sentences]) {
    card.dataset.state = state;
    notice.hidden = false;
    title.textContent = heading;
    text.replaceChildren(...marked(sentences.filter(Boolean).join(" ")));
    firstEvent.hidden = state !== "new";
    goThere.hidden = state !== "empty";
    retry.hidden = true;
  }

  return {
    hide() {
      card.dataset.state = "ready";
      notice.hidden = true;
    },
    sayLoading: (range) => say("loading", `Loading ${nameOf(range)}…`),
    sayFailure({ title, detail, canPass }) {
      say("error", title, detail, canPass ? "Trying again every few seconds." : "");
      retry.hidden = !canPass;
    },
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

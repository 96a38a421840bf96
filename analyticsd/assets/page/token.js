// Asks a person for a token.

import { hasToken, useToken } from "./daemon.js";

const KEPT = "It is kept until this tab closes.";

/** onToken() is called when one was given. */
export function createTokenForm({ form, text, input, announce, onToken }) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    useToken(input.value.trim());
    input.value = "";
    form.hidden = true;
    onToken();
  });
  return {
    hide() {
      form.hidden = true;
    },
    /** The status is that of the answer to the last request. */
    ask(status) {
      const isNew = form.hidden;
      form.hidden = false;
      const why = !hasToken() ? "" : status === 403 ? "That token may not read this. " : "That token is not valid, or no longer valid. ";
      text.textContent = `${why}Enter a token with scope read: whoever runs this counter has one. ${KEPT}`;
      if (!isNew) return;
      input.focus();
      announce("This counter asks for a token.");
    },
  };
}

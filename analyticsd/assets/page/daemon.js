// Sends requests to the daemon, with the token if it needs one.

const NAME = "analytics-token";
/** A share link brings its token along. Any other token has no place in a URL. */
const shared = new URLSearchParams(location.search).get("share");
export const share = shared?.startsWith("sh_") ? shared : null;
let token = share ?? recall();

/** A browser may refuse the store: then the token lasts as long as the page. */
function recall() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null;
  }
}

/** Sets the token of this page and, if the store allows it, of this tab until it is closed. */
export function useToken(text) {
  token = text;
  try {
    sessionStorage.setItem(NAME, text);
  } catch {}
}

export const hasToken = () => token !== null;

/** Whether an answer means that the token is missing or not sufficient. */
export const isLocked = (status) => status === 401 || status === 403;

export function ask(path, { accept, signal }) {
  const headers = { accept };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  return fetch(path, { headers, signal });
}

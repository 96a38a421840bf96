// Asks the daemon, with the token if it wants one.

const NAME = "analytics-token";
let token = recall();

/** A store may be closed to the page: then the token is known as long as the page is. */
function recall() {
  try {
    return sessionStorage.getItem(NAME);
  } catch {
    return null;
  }
}

/** Takes a token, for this page and, where that can be stored, for this tab until it is closed. */
export function useToken(text) {
  token = text;
  try {
    sessionStorage.setItem(NAME, text);
  } catch {}
}

export const hasToken = () => token !== null;

/** Whether an answer says that there is no token, or one that does not do. */
export const isLocked = (status) => status === 401 || status === 403;

export function ask(path, { accept, signal }) {
  const headers = { accept };
  if (token !== null) headers.authorization = `Bearer ${token}`;
  return fetch(path, { headers, signal });
}

// Counts impressions of a page, and clicks on elements with data-analytics-click. Each option is an attribute data-NAME of
// the script's element, a parameter NAME of its URL, or a member NAME of window.analyticsOptions: key, a public key; site,
// the site if the key has none; auto=false records only clicks and calls; hash, the part after # is a page of its own;
// frames, count in frames too; webdriver=false leaves out automated browsers; lifetime-days shortens a visitor's 365 days.
(() => {
  // Included twice, it counts once.
  if (window.analytics?.isEventCounter) return;
  const attempt = (action) => {
    try {
      return action();
    } catch {}
  };

  // Where this script is from, if no member says it. A module has no current script, but a stack begins with its URL. What
  // a loader evaluates is among what the page loaded.
  const settings = window.analyticsOptions ?? {};
  const scripts = [...document.scripts];
  const findSource = () => {
    const [, own] = /^(?:Error\n)?.*?(https?:[^\s()]+?\.js(?:\?[^\s()]*?)?):\d+:\d+\)?(?:\n|$)/.exec(new Error().stack) ?? [];
    if (own) return own;
    const loaded = [...scripts.map(({ src }) => src), ...performance.getEntriesByType("resource").map(({ name }) => name)];
    return loaded.find((name) => /\/analytics\.js(\?|$)/.test(name)) ?? document.currentScript?.src;
  };
  const src = settings.src ?? findSource();
  if (!src) return console.warn("analytics: set window.analyticsOptions = { src: URL } to the URL of this script, before it runs");
  const url = new URL(src, location);
  const element = scripts.find((script) => script.src === url.href) ?? document.currentScript;
  const option = (name) => element?.getAttribute(`data-${name}`) ?? url.searchParams.get(name) ?? settings[name];
  const isOn = (name, usually) => String(option(name) ?? usually) !== "false";
  const hasHash = isOn("hash", false);
  const days = Number(option("lifetime-days"));
  const lifetime = (days > 0 && days < 365 ? days : 365) * 86_400_000;
  // From /x7.js to /x7 and /x7.gif: the names follow the script's.
  const endpoint = url.origin + url.pathname.replace(/\.js$/, "");

  // Who asks for it is not tracked.
  const isRefused = navigator.doNotTrack === "1" || navigator.globalPrivacyControl || (navigator.webdriver && !isOn("webdriver", true));

  const NAME = "analytics-visitor";
  const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  // A browser may refuse either store, by an exception or by forgetting.
  const stores = [
    { read: () => localStorage.getItem(NAME), write: (value) => localStorage.setItem(NAME, value) },
    {
      read: () => document.cookie.match(`(?:^|; )${NAME}=([^;]*)`)?.[1],
      write: (value) => (document.cookie = `${NAME}=${value}; Path=/; SameSite=Lax; Max-Age=${Math.ceil(lifetime / 1000)}`),
    },
  ];
  // Without a store a visitor lasts as long as the page.
  let known;
  function keep(value) {
    known = value;
    stores.some((store) => attempt(() => (store.write(value), store.read() === value)));
  }

  const kept = () => [...stores.map((store) => attempt(store.read)), known];
  const isOff = () => kept().includes("off");

  // 128 random bits and their time.
  function visitor() {
    const now = Date.now();
    for (const value of kept()) {
      const [, id, created] = /^([0-9a-f]{32})\.(\d+)$/.exec(value) ?? [];
      if (id && created <= now && now - created < lifetime) return id;
    }
    keep(`${random()}.${now}`);
    return known.slice(0, 32);
  }

  // The three ways to send. Each rejects if it is closed, and resolves to how long the counter wants to be left alone, if
  // it wants the event later.
  async function byFetch(query) {
    const { status, headers } = await fetch(`${endpoint}?${query}`, { method: "POST", keepalive: true });
    if (status === 429 || status >= 500) return Number(headers.get("retry-after")) || 0;
  }
  // A beacon does not report what becomes of it, but a policy reports that it forbids it.
  const byBeacon = (query) => new Promise((resolve, reject) => {
    const forbidden = ({ blockedURI }) => blockedURI.startsWith(endpoint) && reject();
    document.addEventListener("securitypolicyviolation", forbidden);
    setTimeout(() => (document.removeEventListener("securitypolicyviolation", forbidden), resolve()), 1_000);
    if (!navigator.sendBeacon(`${endpoint}?${query}`)) reject();
  });
  const byImage = (query) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve();
    image.onerror = reject;
    // A public key needs to know the page's origin, whatever the page's policy is.
    image.referrerPolicy = "origin";
    image.src = `${endpoint}.gif?${query}`;
  });
  // Without keepalive a fetch ends with its page. A page's policy, or a blocker, may forbid connections and allow images:
  // what arrived last is tried first.
  const keepsAlive = window.fetch && "keepalive" in (window.Request?.prototype ?? {});
  let ways = keepsAlive ? [byFetch, byImage] : [byBeacon, byImage, byFetch];

  // By their ids, the events that may not have arrived; none if the counter was never reached, as behind a blocker.
  // Whichever way and however often an event is sent, it has the same id, and counts once.
  const pending = new Map();
  let isReached;
  async function deliver(id, query, tries = 0) {
    const event = { query, isWaiting: false };
    pending.set(id, event);
    let open, wait;
    for (const way of ways) {
      if (open) break;
      await way(query).then((later) => ([open, wait] = [way, later]), () => {});
    }
    if (open) {
      isReached = true;
      ways = [open, ...ways.filter((way) => way !== open)];
      if (wait === undefined) {
        pending.delete(id);
        return attempt(() => localStorage.removeItem(PENDING + id));
      }
    } else {
      // Where a page has replaced fetch by something that fails, this may arrive; it does not report whether it does.
      attempt(() => navigator.sendBeacon(`${endpoint}?${query}`));
      if (!isReached) pending.delete(id);
    }
    event.isWaiting = true;
    const longer = 1_000 * 4 ** tries * (0.5 + Math.random());
    if (tries < 4) setTimeout(deliver, Math.min(Math.max((wait ?? 0) * 1_000, longer), 3_600_000), id, query, tries + 1);
  }

  // A page that goes cannot wait: it tries once more, and leaves its pending events to the site's next page.
  const PENDING = "analytics-pending-";
  const leave = () => {
    for (const [id, { query, isWaiting }] of [...pending].slice(0, 100)) {
      attempt(() => localStorage.setItem(PENDING + id, query));
      if (isWaiting) ways[0](query).catch(() => {});
    }
  };
  const takeOver = () => {
    for (const name of Object.keys(localStorage).filter((name) => name.startsWith(PENDING))) {
      const query = localStorage.getItem(name);
      localStorage.removeItem(name);
      const age = Date.now() - new URLSearchParams(query).get("timestamp");
      if (age < 86_400_000) deliver(name.slice(PENDING.length), query);
    }
  };

  // Errors must not reach the page.
  const send = (event) => attempt(() => {
    if (isRefused || isOff()) return;
    const [id, key, site] = [random(), option("key"), option("site")];
    const query = new URLSearchParams({ timestamp: Date.now(), user: visitor(), event, id, ...(key && { key }), ...(site && { site }) });
    deliver(id, query.toString());
  });
  const click = () => send("click");
  const impression = () => send("impression");
  // A library of the same name is left alone.
  window.analytics ??= { click, impression, isEventCounter: true };
  if (isRefused) return;

  // Somebody's own visits: #analytics-off in the address of a page, until #analytics-on.
  const choose = () => {
    if (location.hash === "#analytics-off") keep("off");
    if (location.hash === "#analytics-on" && isOff()) keep("");
  };
  choose();
  addEventListener("hashchange", choose);
  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", leave);
  if (!isOff()) attempt(takeOver);
  if (window.top !== window && !isOn("frames", false)) return;

  let labelled;
  // The middle button opens a link too, but without a "click".
  for (const name of ["click", "auxclick"]) addEventListener(name, (event) => {
    const path = event.composedPath();
    if (event.button > 1 || (event.button && !path.some((node) => node.href))) return;
    if (path[0] === labelled || !path.some((node) => node.hasAttribute?.("data-analytics-click"))) return;
    // A click on a label also clicks its control: that is one click.
    labelled = path.find((node) => node.localName === "label")?.control;
    setTimeout(() => (labelled = null));
    click();
  }, true);
  if (!isOn("auto", true)) return;

  // A page in the background, or prerendered, counts once it is seen.
  let isDue;
  const seen = () => {
    isDue = document.prerendering || document.visibilityState === "hidden";
    if (!isDue) impression();
  };
  for (const name of ["visibilitychange", "prerenderingchange"]) document.addEventListener(name, () => isDue && seen());

  const here = () => location.pathname + (hasHash ? location.hash : "");
  let page = here();
  const routed = () => {
    if (page === here()) return;
    page = here();
    seen();
  };
  if (window.Navigation && window.navigation instanceof Navigation) navigation.addEventListener("currententrychange", routed);
  else {
    for (const name of ["pushState", "replaceState"]) {
      const original = history[name];
      history[name] = function (...given) {
        original.apply(this, given);
        routed();
      };
    }
    for (const name of ["popstate", "hashchange"]) addEventListener(name, routed);
  }
  addEventListener("pageshow", (event) => event.persisted && seen());
  seen();
})();

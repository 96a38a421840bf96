// Counts impressions of a page, and clicks on elements with data-analytics-click. Attributes: data-key, a public key;
// data-site, the site if it has none; data-auto="false" records only clicks and calls; data-lifetime-days="30"
// shortens a visitor's 365 days.
(() => {
  const script = document.currentScript;
  // Included twice, it counts once.
  if (!script || window.analytics?.isEventCounter) return;
  // Who asks for it is not tracked.
  const isRefused = navigator.doNotTrack === "1" || navigator.globalPrivacyControl;

  const NAME = "analytics-visitor";
  const { auto, key, lifetimeDays, site } = script.dataset;
  const days = Number(lifetimeDays);
  const lifetime = (days > 0 && days < 365 ? days : 365) * 86_400_000;
  const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  // A browser may refuse either store, by an exception or by forgetting.
  const stores = [
    { read: () => localStorage.getItem(NAME), write: (value) => localStorage.setItem(NAME, value) },
    {
      read: () => document.cookie.match(`(?:^|; )${NAME}=([^;]*)`)?.[1],
      write: (value) => (document.cookie = `${NAME}=${value}; Path=/; SameSite=Lax; Max-Age=${Math.ceil(lifetime / 1000)}`),
    },
  ];
  const attempt = (action) => {
    try {
      return action();
    } catch {}
  };

  // 128 random bits and their time. Without a store a visitor lasts as long as the page.
  let known;
  function visitor() {
    const now = Date.now();
    for (const value of [...stores.map((store) => attempt(store.read)), known]) {
      const [, id, created] = /^([0-9a-f]{32})\.(\d+)$/.exec(value) ?? [];
      if (id && created <= now && now - created < lifetime) return id;
    }
    known = `${random()}.${now}`;
    stores.some((store) => attempt(() => (store.write(known), store.read() === known)));
    return known.slice(0, 32);
  }

  function deliver(url, wait) {
    fetch(url, { method: "POST", keepalive: true, mode: "no-cors", credentials: "omit" }).catch(() => {
      // The same id: an event that arrived counts once.
      if (wait < 100_000) setTimeout(deliver, wait, url, wait * 4);
    });
  }

  // Errors must not reach the page.
  const send = (event) => attempt(() => {
    if (isRefused) return;
    const query = new URLSearchParams({ timestamp: Date.now(), user: visitor(), event, id: random(), ...(key && { key }), ...(site && { site }) });
    const url = new URL(`analytics?${query}`, script.src).href;
    if (!attempt(() => navigator.sendBeacon(url))) deliver(url, 1_000);
  });
  const click = () => send("click");
  const impression = () => send("impression");
  // A library of the same name is left alone.
  window.analytics ??= { click, impression, isEventCounter: true };
  if (isRefused) return;

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
  if (auto === "false") return;

  let page = location.pathname;
  const routed = () => {
    if (page === location.pathname) return;
    page = location.pathname;
    impression();
  };
  for (const name of ["pushState", "replaceState"]) {
    const original = history[name];
    history[name] = function (...given) {
      original.apply(this, given);
      routed();
    };
  }
  addEventListener("popstate", routed);
  addEventListener("pageshow", (event) => event.persisted && impression());
  // A prerendered page counts once it is shown.
  if (document.prerendering) document.addEventListener("prerenderingchange", impression, { once: true });
  else impression();
})();

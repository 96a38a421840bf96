// The page that shows the traffic: the view, its data, and the parts that show it. The parts do not depend on each
// other.

import { PRESETS, before as beforeOf, hoursOf, nameOf, newest, stepOf } from "./range.js";
import { HOUR, calendar as createCalendar, hourOf, localZone } from "./time.js";
import { readView, writeView } from "./address.js";
import { isLocked } from "./daemon.js";
import { Failure, parameterOf, readPeriods } from "./periods.js";
import { listen } from "./live.js";
import { rateOf } from "./numbers.js";
import { createCharts } from "./chart.js";
import { createChooser, createComparison, readSites } from "./sites.js";
import { createConnection } from "./connection.js";
import { comparedWith, createHeadlines, sentenceOf } from "./headlines.js";
import { createNotice } from "./notice.js";
import { createNow } from "./now.js";
import { createTable } from "./table.js";
import { createTokenForm } from "./token.js";
import { csvOf, fileName, pngOf, save } from "./export.js";
import { enableCopying } from "./copy.js";

/** How often a range is read again: an event may come late, and the stream has only the current hour. */
const REFRESH = 60_000;
/** How long to wait before a range that could not be read is read again. */
const PATIENCE = 4_000;
/** How long to wait after a read until the stream may cause another: so long, and so many times as long as the read took. */
const PAUSE = 1_000;
const SHARE = 10;

const at = (id) => document.getElementById(id);
const card = at("range-card");

let view = readView(location.search);
/** Whether the daemon cannot count by the days of the reader's zone. */
let isLocalRefused = false;
let calendar = createCalendar(view.zone);
let currentHour = hourOf(Date.now());
/** The sites that the token may read, as far as they are known. */
let sites = [];
/** The answer in view, and what it is of; `earlier` is the time before, undefined until it is read, and null where there is none. */
let shown = null;
let reading = null;
let retryTimer = 0;
let soonTimer = 0;
let lastRead = { end: 0, took: 0 };
/** The numbers that the stream told last. */
let heard = null;

const announce = (text) => (at("announcer").textContent = text);

const charts = createCharts(at("charts"), {
  onCursor: (pointed) => announce(pointed === null ? "No period" : `${pointed.label}: ${sentenceOf(pointed.period)}`),
  onSelect: lookAt,
});
const headlines = createHeadlines({ list: at("totals"), comparison: at("comparison"), unknown: at("unknown") });
const now = createNow({ card: at("now"), span: at("now-span"), elapsed: at("now-elapsed"), progress: at("now-progress") });
const table = createTable({ details: at("numbers"), body: at("rows"), column: at("period-column") });
const notice = createNotice({
  card,
  notice: at("notice"),
  title: at("notice-title"),
  text: at("notice-text"),
  retry: at("notice-retry"),
  goThere: at("go-there"),
  firstEvent: at("first-event"),
  curl: at("first-curl"),
  snippet: at("first-snippet"),
});
const chooser = createChooser({ field: at("site-field"), select: at("site"), onChoose: (site) => look({ ...view, site }) });
const comparison = createComparison({
  details: at("compared"),
  body: at("compared-rows"),
  note: at("compared-note"),
  readTotals: async (range, site, signal) => (await readRange(range, { site, signal })).totals,
  onChoose: (site) => look({ ...view, site }),
});
const tokenForm = createTokenForm({
  form: at("locked"),
  text: at("locked-text"),
  input: at("token"),
  announce,
  onToken() {
    // It may be for another site.
    forget();
    now.clear();
    stream.retry();
    read();
    findSites();
  },
});
const connection = createConnection({
  pill: at("connection"),
  pillText: at("connection-text"),
  banner: at("banner"),
  title: at("banner-title"),
  text: at("banner-text"),
  retry: at("banner-retry"),
  announce,
  clock: (instant) => calendar.clock(instant),
});

const stream = listen({
  pathOf: () => `/analytics/stream${parameterOf(view.site).replace("&", "?")}`,
  onCounts(counts) {
    connection.seen(Date.now());
    now.show(counts);
    heard = counts;
    if (counts.hour === currentHour) {
      if (shown?.key === keyOf(view, calendar) && catchUp(shown)) show();
      return readSoon();
    }
    currentHour = counts.hour;
    now.tick(currentHour, calendar);
    read();
  },
  onConnection(next) {
    const isBack = next.state === "live" && !["live", "connecting"].includes(connection.state);
    connection.show(next);
    at("now").classList.toggle("is-old", next.state !== "live" && next.state !== "connecting");
    if (next.state === "locked") lock(next.status);
    // The changes in between are not known yet.
    if (isBack) read();
  },
});

/** Changes the view, and the address with it: a new entry of the history, unless the reader chose nothing. */
function look(next, { isNew = true, isChosen = true } = {}) {
  const isOtherSite = next.site !== view.site;
  view = next;
  if (isNew && writeView(view) !== (location.search || location.pathname)) {
    if (isChosen) history.pushState(null, "", writeView(view));
    else history.replaceState(null, "", writeView(view));
  }
  useZone();
  if (isOtherSite) {
    // Numbers of one site must not stand under the name of another.
    forget();
    heard = null;
    now.clear();
    stream.retry();
  }
  writeControls();
  read();
}

function lookAt(range) {
  look({ ...view, range, isMisread: false });
}

function useZone() {
  calendar = createCalendar(isLocalRefused ? "utc" : view.zone);
  now.tick(currentHour, calendar);
}

/** What the numbers in view are of. */
const keyOf = ({ range, site }, { zoneName }) => JSON.stringify([range, site, zoneName]);

const readRange = (range, { site = view.site, step = stepOf(range, charts.width()), signal } = {}) =>
  readPeriods(range, { step, zoneName: calendar.zoneName, site, signal });

/** Reads the view again. Until then the old numbers stay, if they are of the same view. */
async function read() {
  reading?.abort();
  clearTimeout(retryTimer);
  clearTimeout(soonTimer);
  const mine = (reading = new AbortController());
  const { signal } = mine;
  const key = keyOf(view, calendar);
  const isOther = shown?.key !== key;
  const began = Date.now();
  if (isOther) {
    card.setAttribute("aria-busy", "true");
    notice.sayLoading(view.range);
  }
  try {
    const stored = view.range === "all" ? (await readRange({ from: currentHour, to: currentHour }, { signal })).stored : null;
    const range = hoursOf(view.range, currentHour, calendar, stored);
    if (range.to < range.from) throw new Failure(400, { title: "The range ends before it begins" });
    const answer = await readRange(range, { signal });
    // The time before ends where the range has got to, so that it is another one with each hour.
    const span = JSON.stringify([answer.from, Math.min(range.to, currentHour), currentHour <= range.to, answer.step]);
    shown = { ...answer, key, span, range: view.range, earlier: !isOther && shown.span === span ? shown.earlier : undefined };
    lastRead = { end: Date.now(), took: Date.now() - began };
    connection.seen(Date.now());
    catchUp(shown);
    showHourIfUnheard(answer);
    show();
    if (isOther) announce(`${nameOf(view.range)}: ${sentenceOf(answer.totals)}`);
    if (shown.earlier !== undefined) return;
    shown.earlier = view.range === "all" ? null : await readBefore(range, answer, signal);
    if (mine === reading) show();
  } catch (failure) {
    if (signal.aborted) return;
    if (!(failure instanceof Failure)) throw failure;
    fail(failure, key);
  } finally {
    if (mine === reading) {
      reading = null;
      card.removeAttribute("aria-busy");
    }
  }
}

/** The time before a range: its periods, and its totals as compare.js takes them; null where nothing is stored of it. */
async function readBefore(range, { step, stored }, signal) {
  const earlier = beforeOf(range, currentHour, calendar);
  if (earlier === null || stored === null || stored.first > earlier.to) return null;
  const isOpen = range.from <= currentHour && currentHour <= range.to;
  const nothing = { unique_users: 0, clicks: 0, impressions: 0 };
  const untilHour = { from: earlier.from, to: earlier.to - HOUR };
  const [whole, over] = await Promise.all([
    readRange(earlier, { step, signal }),
    isOpen && untilHour.to >= untilHour.from ? readRange(untilHour, { step: "month", signal }).then(({ totals }) => totals) : nothing,
  ]);
  if (whole.totals.clicks + whole.totals.impressions === 0) return null;
  return { ...earlier, isOpen, periods: whole.periods, whole: whole.totals, over: isOpen ? over : whole.totals };
}

function fail(failure, key) {
  if (failure.parameter === "time_zone" && !isLocalRefused && view.zone === "local") {
    isLocalRefused = true;
    view = readView(location.search, isLocalRefused);
    useZone();
    writeControls();
    return read();
  }
  // The old numbers stay if they are of this view; the banner shows that they are old.
  if (shown?.key !== key) {
    forget();
    notice.sayFailure(failure);
    announce(failure.title);
  }
  if (isLocked(failure.status)) lock(failure.status);
  if (failure.status === 0 && connection.state === "live") stream.retry();
  if (failure.canPass) retryTimer = setTimeout(read, PATIENCE);
}

/** Until a token is given, whatever needs one is hidden; numbers that were read with an earlier one stay. */
function lock(status) {
  if (shown === null) document.body.dataset.locked = "";
  tokenForm.ask(status);
}

function forget() {
  shown = null;
  headlines.clear();
}

/**
 * The stream is ahead of an answer. Where that is by the hour, this raises its numbers of the current hour to what the stream told,
 * and returns whether they were lower.
 */
function catchUp({ step, periods, totals }) {
  const current = step === "hour" && periods.find(({ from }) => from === heard?.hour);
  if (!current || heard.clicks + heard.impressions <= current.clicks + current.impressions) return false;
  for (const series of ["clicks", "impressions"]) totals[series] += heard[series] - current[series];
  if (totals.unique_users !== null) totals.unique_users = Math.max(totals.unique_users, heard.unique_users);
  const { unique_users, clicks, impressions } = heard;
  Object.assign(current, { unique_users, clicks, impressions });
  return true;
}

/** After a change that the stream told. Pages that are open all day must not keep the database busy with a long range. */
function readSoon() {
  clearTimeout(soonTimer);
  if (shown !== null && shown.to < currentHour) return;
  const pause = Math.max(PAUSE, SHARE * lastRead.took) - (Date.now() - lastRead.end);
  soonTimer = setTimeout(() => (reading ? readSoon() : read()), Math.max(reading ? PAUSE : 0, pause));
}

function refresh() {
  if (document.hidden || reading || shown === null) return;
  // Without the stream nobody else tells that an hour has passed.
  if (connection.state !== "live") currentHour = Math.max(currentHour, hourOf(Date.now()));
  read();
}

/** Where something between cuts the stream off, a read tells the current hour. */
function showHourIfUnheard({ step, periods }) {
  const last = periods.at(-1);
  if (connection.state !== "live" && step === "hour" && last.from === currentHour) now.show(last);
}

function show() {
  delete document.body.dataset.locked;
  tokenForm.hide();
  const { step, periods, stored, totals, earlier, unknownIn } = shown;
  if (stored === null) notice.sayNew(view.site);
  else if (totals.clicks + totals.impressions === 0) notice.sayEmpty(shown.range, calendar.hour(stored.last));
  else notice.hide();
  if (card.dataset.state === "ready") charts.show({ periods, earlier: earlier?.periods ?? [], step, currentHour, calendar });
  headlines.show({ totals, unknownIn, before: earlier, calendar });
  const behind = earlier ? [earlier.over, earlier.whole, ...earlier.periods] : [];
  at("high-rate").hidden = ![totals, ...periods, ...behind].some((counts) => rateOf(counts) > 1);
  table.show(periods, step, calendar);
  comparison.show(sites, shown);
  at("readout").textContent = spanOf(shown);
}

/** A range that ends now has a beginning only. */
function spanOf({ from, to, isAll }) {
  if (!isAll) return `${calendar.range({ from, to })}: the first part, as much as one answer holds`;
  return to === currentHour && from < to ? `Since ${calendar.moment(from)}` : calendar.range({ from, to });
}

function writeControls() {
  chooser.show(sites, view.site);
  // A token that is for one site needs no name for it, but its reader does.
  const name = view.site ?? (sites.length === 1 ? sites[0] : null);
  at("heading").textContent = name ?? "Analytics";
  document.title = name === null ? "Analytics" : `${name} – Analytics`;
  const isPreset = typeof view.range === "string";
  document.querySelector(`input[name=zone][value=${view.zone}]`).checked = true;
  document.querySelector(`input[name=range][value="${isPreset ? view.range : "chosen"}"]`).checked = true;
  document.querySelector("#zone label:last-child").title = localZone();
  at("zone").hidden = isLocalRefused || localZone() === "UTC";
  at("zone-note").hidden = !isLocalRefused;
  const off = Math.abs(new Date().getTimezoneOffset() % 60) === 30 ? "half an hour" : "part of an hour";
  at("zone-note").textContent = `Times are in UTC: events are counted by UTC hours, and ${localZone()} is ${off} off.`;
  at("misread").hidden = !view.isMisread;
  at("chosen").hidden = isPreset;
  const { from, to } = hoursOf(view.range, currentHour, calendar, shown?.stored);
  at("chosen-from").value = calendar.toInput(from);
  at("chosen-to").value = calendar.toInput(to);
}

// --- actions of the reader ---

at("range").addEventListener("change", ({ target }) => {
  if (target.value in PRESETS) return lookAt(target.value);
  at("chosen").hidden = false;
});

at("zone").addEventListener("change", ({ target }) => look({ ...view, zone: target.value }));

at("chosen").addEventListener("submit", (event) => {
  event.preventDefault();
  const [from, to] = ["chosen-from", "chosen-to"].map((id) => hourOf(calendar.fromInput(at(id).value)));
  if (Number.isNaN(from) || Number.isNaN(to)) return;
  lookAt({ from, to });
});

at("go-there").addEventListener("click", () => lookAt(newest(shown.stored, calendar)));

at("export-csv").addEventListener("click", () => {
  save(fileName(view.site, shown, "csv"), new Blob([csvOf(shown.step, shown.periods)], { type: "text/csv" }));
  announce("Saved as CSV");
});

at("export-png").addEventListener("click", async () => {
  const picture = await pngOf({
    charts: charts.canvases(),
    element: card,
    title: `Analytics of ${view.site ?? location.host}`,
    subtitle: spanOf(shown),
    figures: sentenceOf(shown.totals),
    behind: shown.earlier ? comparedWith(shown.earlier, calendar) : null,
  });
  save(fileName(view.site, shown, "png"), picture);
  announce("Saved as PNG");
});

at("banner-retry").addEventListener("click", () => stream.retry());
at("notice-retry").addEventListener("click", read);
addEventListener("online", () => stream.retry());
addEventListener("popstate", () => look(readView(location.search, isLocalRefused), { isNew: false }));
addEventListener("pageshow", ({ persisted }) => persisted && stream.retry());
// Other bars may be wide enough now.
addEventListener("resize", () => shown !== null && stepOf(shown, charts.width()) !== shown.step && read());
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, REFRESH);
setInterval(() => now.tick(currentHour, calendar), 5_000);

/** Finds out which sites there are to choose from. A token that is for several sites needs one of them to be named. */
async function findSites() {
  sites = await readSites();
  if (view.site === null && sites.length > 1 && !sites.includes(null)) return look({ ...view, site: sites[0] }, { isChosen: false });
  writeControls();
  if (shown !== null) comparison.show(sites, shown);
}

enableCopying(document);
writeControls();
now.tick(currentHour, calendar);
read();
findSites();

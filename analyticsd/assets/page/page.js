// The page that shows the traffic: the view, its data, and the parts that show it. The parts do not depend on each
// other.

import { calendar as createCalendar, hourOf } from "./time.js";
import { NOTHING, change, rateOf, write, writeCount, writeRate } from "./numbers.js";
import { PRESETS, before, hoursOf, lengthOf, nameOf, readView, writeView } from "./address.js";
import { hasToken, isLocked, useToken } from "./daemon.js";
import { Failure, PAGE_HOURS, countUsers, parameterOf, readHours } from "./hours.js";
import { listen } from "./live.js";
import { createCharts, valueOf } from "./chart.js";
import { createChooser, createComparison, readSites } from "./sites.js";
import { createTable } from "./table.js";
import { csvOf, fileName, pngOf, save } from "./export.js";
import { createConnection } from "./connection.js";
import { enableCopying } from "./copy.js";

/** How often hours that are over are read again: an event may come late, and the stream has only the current hour. */
const REFRESH = 60_000;
/** How long to wait before hours that could not be read are read again. */
const PATIENCE = 4_000;
const SUMMED = ["clicks", "impressions"];

const at = (id) => document.getElementById(id);

let view = readView(location.search);
let calendar = createCalendar(view.zone);
let currentHour = hourOf(Date.now());
/** The last message of the stream: { counts, at }. */
let live = null;
/** The sites that the token may read, as far as they are known. */
let sites = [];
/** The hours in view, and those of the period before, or null while they are not known. */
let shown = { range: null, hours: null, rows: [], before: null };
let reading = null;
let retryTimer = 0;
let frame = 0;
/** The hour under the cursor in the charts. */
let pointed = null;

function announce(text) {
  at("announcer").textContent = text;
}

const charts = createCharts(at("charts"), {
  onCursor(index, isByKey) {
    writeReadout(index);
    if (!isByKey) return;
    announce(index === null ? "No hour" : sentenceOf(shown.rows[index]));
  },
  onSelect: (hours) => look({ ...view, range: hours }),
});

const table = createTable({ details: at("numbers"), body: at("rows"), more: at("more-rows"), column: at("hour-column") });

const chooser = createChooser({ field: at("site-field"), select: at("site"), onChoose: (site) => look({ ...view, site }) });

const comparison = createComparison({
  details: at("compared"),
  body: at("compared-rows"),
  note: at("compared-note"),
  onChoose: (site) => look({ ...view, site }),
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
    live = { counts, at: Date.now() };
    connection.seen(live.at);
    const isNewHour = counts.hour !== currentHour;
    currentHour = counts.hour;
    writeNow(counts);
    const row = shown.rows.find((row) => row.hour === counts.hour);
    if (row) {
      Object.assign(row, counts);
      showSoon();
    }
    if (isNewHour) read();
  },
  onConnection(next) {
    const isBack = next.state === "live" && !["live", "connecting"].includes(connection.state);
    connection.show(next);
    at("now").classList.toggle("is-old", next.state !== "live" && next.state !== "connecting");
    if (next.state === "locked") askForToken();
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
  if (calendar.zoneName !== createCalendar(view.zone).zoneName) calendar = createCalendar(view.zone);
  if (isOtherSite) {
    // Numbers of one site must not stand under the name of another.
    forget();
    live = null;
    for (const place of document.querySelectorAll("[data-now]")) place.textContent = NOTHING;
    stream.retry();
  }
  writeControls();
  if (live) writeNow(live.counts);
  const hours = hoursOf(view.range, currentHour);
  const isThere = shown.hours?.from === hours.from && shown.hours?.to === hours.to;
  if (isThere) show();
  // A read under way may be of another range, and must not replace this one.
  if (!isThere || reading) read();
}

/** Reads the view again. Until then the old numbers stay, if they are of the same range. */
async function read() {
  reading?.abort();
  clearTimeout(retryTimer);
  const mine = (reading = new AbortController());
  const { signal } = mine;
  const range = view.range;
  const hours = hoursOf(range, currentHour);
  const isSameRange = JSON.stringify(range) === JSON.stringify(shown.range);
  const total = lengthOf(hours);
  const since = Date.now();
  const onProgress = (count) => count < total && sayLoading(`${writeCount(count)} of ${writeCount(total)} hours`);
  at("range-card").setAttribute("aria-busy", "true");
  if (!isSameRange || shown.rows.length === 0) sayLoading();
  try {
    const rows = await readHours(hours, view.site, { signal, onProgress: isSameRange && shown.rows.length ? undefined : onProgress });
    const isSameSpan = isSameRange && shown.hours?.from === hours.from && shown.hours?.to === hours.to;
    // Messages of the stream since then are newer than this read.
    const current = live && live.at > since && rows.find((row) => row.hour === live.counts.hour);
    if (current) Object.assign(current, live.counts);
    shown = { range, hours, rows, before: isSameSpan ? shown.before : null };
    if (!isSameSpan) forgetUniqueUsers();
    connection.seen(Date.now());
    const now = rows.find((row) => row.hour === currentHour);
    if (now && connection.state !== "live") writeNow(now);
    show();
    if (!isSameRange) announce(`${nameOf(range)}: ${totalsSentence()}`);
    const earlier = before(hours);
    // There are no events before 1970.
    if (earlier.from >= 0) shown.before = await readHours(earlier, view.site, { signal });
    if (mine === reading) show();
  } catch (failure) {
    if (signal.aborted) return;
    if (!(failure instanceof Failure)) throw failure;
    // The old numbers stay if they are of this range; the banner shows that they are old.
    if (shown.range !== range && !isSameRange) forget();
    if (shown.rows.length === 0) sayFailure(failure);
    if (isLocked(failure.status)) askForToken(failure.detail);
    if (failure.status === 0 && connection.state === "live") stream.retry();
    if (failure.status === 0 || failure.status >= 500) retrySoon();
  } finally {
    if (mine === reading) {
      reading = null;
      at("range-card").removeAttribute("aria-busy");
    }
  }
}

function forget() {
  shown = { range: null, hours: null, rows: [], before: null };
  for (const place of document.querySelectorAll("[data-total]")) place.textContent = NOTHING;
  for (const place of document.querySelectorAll("[data-change]")) place.replaceChildren();
  for (const id of ["export-csv", "export-png", "unique-count"]) at(id).disabled = true;
  at("comparison").textContent = "";
  table.show([], calendar);
}

function retrySoon() {
  clearTimeout(retryTimer);
  retryTimer = setTimeout(read, PATIENCE);
}

/** A long range is read once, and then only the stream updates it, so that an open page does not keep the database busy. */
function refresh() {
  if (!document.hidden && !reading && shown.rows.length > 0 && shown.rows.length <= PAGE_HOURS) read();
}

function showSoon() {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(show);
}

function show() {
  if (shown.rows.length === 0) return;
  const isEmpty = shown.rows.every((row) => row.impressions === 0 && row.clicks === 0);
  at("range-card").dataset.state = isEmpty ? "empty" : "ready";
  at("notice").hidden = !isEmpty;
  if (isEmpty) sayEmpty();
  else charts.show(shown.rows, currentHour, calendar);
  table.show(shown.rows, calendar);
  comparison.show(sites, shown.hours);
  writeTotals();
  writeReadout(null, true);
  at("export-csv").disabled = false;
  at("export-png").disabled = isEmpty;
}

// --- numbers in the page ---

function writeNow(counts) {
  at("now-span").textContent = calendar.span(counts.hour);
  for (const place of document.querySelectorAll("[data-now]")) {
    const series = place.dataset.now;
    const text = write(series, valueOf(series, counts));
    if (place.textContent === text) continue;
    const wasKnown = place.textContent !== NOTHING;
    place.textContent = text;
    if (!wasKnown) continue;
    // The animation restarts only if styles were computed without the class.
    place.classList.remove("has-changed");
    void place.offsetWidth;
    place.classList.add("has-changed");
  }
  writeElapsed();
}

function writeElapsed() {
  const minutes = Math.min(60, Math.max(0, Math.floor((Date.now() - currentHour) / 60_000)));
  at("now-elapsed").textContent = `${minutes} of 60 minutes`;
  at("now-progress").value = minutes;
}

function totalsOf(rows) {
  const totals = Object.fromEntries(SUMMED.map((series) => [series, rows.reduce((sum, row) => sum + row[series], 0)]));
  return { ...totals, rate: rateOf(totals) };
}

function totalsSentence() {
  const { clicks, impressions, rate } = totalsOf(shown.rows);
  return `${writeCount(clicks)} clicks, ${writeCount(impressions)} impressions, click-through rate ${writeRate(rate)}`;
}

function writeTotals() {
  const totals = totalsOf(shown.rows);
  for (const place of document.querySelectorAll("[data-total]")) place.textContent = write(place.dataset.total, totals[place.dataset.total]);
  writeComparison();
  const tooLong = shown.rows.length > PAGE_HOURS;
  at("unique-count").disabled = tooLong;
  if (tooLong) at("unique-note").textContent = `counted for ranges of up to ${writeCount(PAGE_HOURS)} hours`;
}

/** Compares only hours that are over, with the hours at the same places of the period before. */
function writeComparison() {
  const now = currentHour;
  const pairs = shown.before === null ? [] : shown.rows.map((row, index) => [shown.before[index], row]).filter(([, row]) => row.hour < now);
  const totals = [0, 1].map((side) => totalsOf(pairs.map((pair) => pair[side])));
  for (const place of document.querySelectorAll("[data-change]")) {
    const series = place.dataset.change;
    const [earlier, later] = totals.map((total) => total[series]);
    const changed = pairs.length ? change(series, earlier, later) : null;
    place.replaceChildren();
    delete place.dataset.direction;
    if (changed === null) continue;
    place.dataset.direction = changed.direction;
    const word = ["down", "unchanged", "up"][changed.direction + 1];
    const mark = Object.assign(document.createElement("span"), { textContent: ["▼ ", "", "▲ "][changed.direction + 1] });
    mark.setAttribute("aria-hidden", "true");
    const spoken = Object.assign(document.createElement("span"), { className: "hidden", textContent: `${word} ` });
    const seen = changed.direction === 0 ? "unchanged" : changed.text;
    const text = Object.assign(document.createElement("span"), { className: "by" });
    if (changed.direction !== 0) text.append(mark, spoken);
    text.append(seen);
    place.append(text, Object.assign(document.createElement("small"), { textContent: `${write(series, earlier)} → ${write(series, later)}` }));
  }
  const count = pairs.length;
  at("comparison").textContent = count === 0 || totals.every((total) => total.clicks + total.impressions === 0)
    ? ""
    : `Compared: the ${count === 1 ? "hour that is" : `${writeCount(count)} hours that are`} over, with the same of the period before, from ${calendar.moment(shown.before[0].hour)}.`;
}

function writeReadout(index, isSame = false) {
  if (!isSame) pointed = index === null ? null : shown.rows[index].hour;
  const row = shown.rows.find((row) => row.hour === pointed);
  if (shown.rows.length === 0) return;
  at("readout").textContent = row
    ? `${calendar.hour(row.hour)}${row.hour === currentHour ? ", so far" : ""}`
    : calendar.range(shown.hours);
}

function sentenceOf(row) {
  return `${calendar.hour(row.hour)}: ${writeCount(row.unique_users)} unique users, ${writeCount(row.clicks)} clicks, ${writeCount(row.impressions)} impressions, click-through rate ${writeRate(rateOf(row))}`;
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
  document.querySelector("#zone label:last-child").title = createCalendar("local").zoneName;
  at("chosen").hidden = isPreset;
  const { from, to } = hoursOf(view.range, currentHour);
  at("chosen-from").value = calendar.toInput(from);
  at("chosen-to").value = calendar.toInput(to);
}

// --- states of the charts ---

function sayNotice(state, title, text) {
  at("range-card").dataset.state = state;
  at("notice").hidden = false;
  at("notice-title").textContent = title;
  at("notice-text").textContent = text;
  at("first-event").hidden = state !== "empty";
  at("notice-retry").hidden = state !== "error";
}

function sayLoading(progress = "") {
  sayNotice("loading", `Loading ${nameOf(view.range)}…`, progress);
}

function sayFailure(failure) {
  const title = failure.title;
  const again = failure.status >= 500 ? "Trying again every few seconds." : "";
  sayNotice("error", title, [failure.detail, again].filter(Boolean).join(" "));
  announce(title);
}

function sayEmpty() {
  const ofSite = view.site === null ? "" : ` data-site="${view.site}"`;
  at("first-curl").textContent = `curl -X POST "${location.origin}/analytics?timestamp=$(date +%s)000&user=anna&event=impression${parameterOf(view.site)}"`;
  at("first-snippet").textContent = `<script async src="${location.origin}/analytics.js"${ofSite}></script>\n<a href="/buy" data-analytics-click>Buy</a>`;
  sayNotice("empty", `No events in ${nameOf(view.range)} yet`, "They show here as soon as they are stored. To send the first:");
}


// --- unique users of the whole range, only on request ---

function forgetUniqueUsers() {
  at("unique-value").replaceChildren(uniqueButton);
  uniqueButton.textContent = "Count exactly";
  at("unique-note").textContent = "not the sum of the hours";
}

const uniqueButton = at("unique-count");
uniqueButton.addEventListener("click", async () => {
  const { hours } = shown;
  const { site } = view;
  uniqueButton.textContent = "Counting…";
  uniqueButton.setAttribute("aria-disabled", "true");
  let result;
  try {
    const { users, note } = await countUsers(hours, site);
    result = { value: users === null ? "not known" : writeCount(users), note: users === null ? note : `in the whole range, at ${calendar.clock(Date.now())}` };
  } catch (failure) {
    result = { value: null, note: failure.detail || failure.title };
  }
  uniqueButton.removeAttribute("aria-disabled");
  // The view has changed meanwhile.
  if (view.site !== site || shown.hours?.from !== hours.from || shown.hours.to !== hours.to) return;
  uniqueButton.textContent = result.value === null ? "Count exactly" : "Count again";
  at("unique-value").replaceChildren(...(result.value === null ? [] : [Object.assign(document.createElement("span"), { textContent: result.value })]), uniqueButton);
  at("unique-note").textContent = result.note;
  announce(result.value === null ? result.note : `${result.value} unique users: ${result.note}`);
});

/** Shows the daemon's message about the token, if there is one. */
function askForToken(why) {
  const isNew = at("locked").hidden;
  at("locked").hidden = false;
  at("locked-text").textContent = why || (hasToken() ? "The token that was given does not do." : "One with the scope read shows this page.");
  if (isNew) announce("This counter is open to those who have a token.");
}

// --- actions of the reader ---

at("locked").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(at("token").value.trim());
  at("token").value = "";
  at("locked").hidden = true;
  stream.retry();
  read();
  findSites();
});

at("range").addEventListener("change", ({ target }) => {
  if (target.value in PRESETS) return look({ ...view, range: target.value });
  at("chosen").hidden = false;
});

at("zone").addEventListener("change", ({ target }) => look({ ...view, zone: target.value }));

at("chosen").addEventListener("submit", (event) => {
  event.preventDefault();
  const [from, to] = ["chosen-from", "chosen-to"].map((id) => hourOf(calendar.fromInput(at(id).value)));
  if (Number.isNaN(from) || Number.isNaN(to)) return;
  look({ ...view, range: { from, to } });
});

at("export-csv").addEventListener("click", () => {
  save(fileName(view.site, shown.hours, "csv"), new Blob([csvOf(shown.rows)], { type: "text/csv" }));
  announce("Saved as CSV");
});

at("export-png").addEventListener("click", async () => {
  const picture = await pngOf({
    charts: charts.canvases(),
    element: at("range-card"),
    title: `Analytics of ${view.site ?? location.host}`,
    subtitle: calendar.range(shown.hours),
    figures: totalsSentence(),
  });
  save(fileName(view.site, shown.hours, "png"), picture);
  announce("Saved as PNG");
});

at("banner-retry").addEventListener("click", () => stream.retry());
at("notice-retry").addEventListener("click", read);
addEventListener("online", () => stream.retry());
addEventListener("popstate", () => look(readView(location.search), { isNew: false }));
addEventListener("pageshow", ({ persisted }) => persisted && stream.retry());
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, REFRESH);
setInterval(writeElapsed, 5_000);

/** Finds out which sites there are to choose from. A token that is for several sites needs one of them to be named. */
async function findSites() {
  sites = await readSites();
  if (view.site === null && sites.length > 1 && !sites.includes(null)) return look({ ...view, site: sites[0] }, { isChosen: false });
  writeControls();
  if (shown.hours !== null) comparison.show(sites, shown.hours);
}

enableCopying(document);
writeControls();
writeElapsed();
at("now-span").textContent = calendar.span(currentHour);
read();
findSites();

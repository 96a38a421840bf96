// The sites that this page may show: which of them it shows, and how they compare.

import { ask } from "./daemon.js";
import { rateOf, writeCount, writeRate } from "./numbers.js";

/** A comparison of more sites would keep the database busy. */
const MOST_COMPARED = 50;
/** How many sites are asked for at a time. */
const AT_ONCE = 4;
const NAMELESS = "Without a name";

const labelOf = (site) => site ?? NAMELESS;

/** The sites that the token may read, null being the one without a name; an empty list if the daemon does not say. */
export async function readSites() {
  try {
    const response = await ask("/analytics/sites", { accept: "application/json" });
    if (!response.ok) return [];
    const { sites, nameless } = await response.json();
    return [...(nameless ? [null] : []), ...sites.map(({ name }) => name)];
  } catch {
    return [];
  }
}

/** Chooses one of several sites, and is hidden while there is nothing to choose. onChoose(site) is called with the reader's choice. */
export function createChooser({ field, select, onChoose }) {
  let sites = [];
  select.addEventListener("change", () => onChoose(sites[select.selectedIndex]));
  return {
    show(newSites, site) {
      if (sites !== newSites) {
        sites = newSites;
        field.hidden = sites.length < 2;
        select.replaceChildren(...sites.map((site) => new Option(labelOf(site))));
      }
      select.selectedIndex = sites.indexOf(site);
    },
  };
}

/**
 * Compares the sites in a table, once its details are opened. readTotals(range, site, signal) reads the numbers of one, and onChoose(site) is
 * called when one is chosen.
 */
export function createComparison({ details, body, note, readTotals, onChoose }) {
  let sites = [];
  let range = null;
  let reading = null;

  function createRow(site, totals) {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    const choose = Object.assign(document.createElement("button"), { type: "button", textContent: labelOf(site) });
    choose.addEventListener("click", () => onChoose(site));
    head.append(choose);
    line.append(head);
    for (const text of [writeCount(totals.unique_users), writeCount(totals.clicks), writeCount(totals.impressions), writeRate(rateOf(totals))]) {
      line.append(Object.assign(document.createElement("td"), { textContent: text }));
    }
    return line;
  }

  async function render() {
    reading?.abort();
    if (!details.open || details.hidden || range === null) return;
    const mine = (reading = new AbortController());
    const compared = sites.slice(0, MOST_COMPARED);
    note.textContent = "Loading…";
    const rows = [];
    try {
      for (let at = 0; at < compared.length; at += AT_ONCE) {
        const some = compared.slice(at, at + AT_ONCE);
        const totals = await Promise.all(some.map((site) => readTotals(range, site, mine.signal)));
        rows.push(...some.map((site, index) => ({ site, totals: totals[index] })));
      }
    } catch (failure) {
      if (!mine.signal.aborted) note.textContent = failure.title ?? "The sites cannot be compared now.";
      return;
    }
    if (mine !== reading) return;
    rows.sort((one, other) => other.totals.impressions + other.totals.clicks - one.totals.impressions - one.totals.clicks);
    body.replaceChildren(...rows.map(({ site, totals }) => createRow(site, totals)));
    note.textContent = compared.length < sites.length
      ? `The first ${writeCount(compared.length)} of ${writeCount(sites.length)} sites by name.`
      : "Whoever visits several sites is a unique user of each.";
  }

  details.addEventListener("toggle", render);

  return {
    show(newSites, newRange) {
      const isSame = sites === newSites && range?.from === newRange?.from && range?.to === newRange?.to;
      [sites, range] = [newSites, newRange];
      details.hidden = sites.length < 2;
      if (!isSame) render();
    },
  };
}

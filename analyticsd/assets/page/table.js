// The numbers of the charts as a table, the last hour first.

import { asApi } from "./time.js";
import { rateOf, writeCount, writeRate } from "./numbers.js";

/** More rows than this at once make a browser slow; a button adds as many again. */
const ROWS_AT_ONCE = 1_000;

export function createTable({ details, body, more, column }) {
  let rows = [];
  let calendar = null;
  let shown = ROWS_AT_ONCE;

  const cells = (row) => [writeCount(row.unique_users), writeCount(row.clicks), writeCount(row.impressions), writeRate(rateOf(row))];

  function createRow(row) {
    const line = document.createElement("tr");
    line.dataset.hour = asApi(row.hour);
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = calendar.hour(row.hour);
    line.append(head);
    for (const text of cells(row)) line.append(Object.assign(document.createElement("td"), { textContent: text }));
    return line;
  }

  function render() {
    if (!details.open || calendar === null) return;
    column.textContent = `Hour (${calendar.zoneName})`;
    const wanted = rows.slice(-shown).reverse();
    const isSameShape = body.rows.length === wanted.length && body.dataset.zone === calendar.zoneName
      && body.rows[0]?.dataset.hour === (wanted[0] && asApi(wanted[0].hour)) && body.rows[wanted.length - 1]?.dataset.hour === asApi(wanted.at(-1).hour);
    if (isSameShape) {
      // If only numbers change, the reader's place in the table stays.
      wanted.forEach((row, index) => cells(row).forEach((text, at) => {
        const cell = body.rows[index].cells[at + 1];
        if (cell.textContent !== text) cell.textContent = text;
      }));
    } else {
      body.dataset.zone = calendar.zoneName;
      body.replaceChildren(...wanted.map(createRow));
    }
    more.hidden = rows.length <= shown;
  }

  details.addEventListener("toggle", render);
  more.addEventListener("click", () => {
    shown += ROWS_AT_ONCE;
    render();
  });

  return {
    show(newRows, newCalendar) {
      if (newRows.length !== rows.length) shown = ROWS_AT_ONCE;
      rows = newRows;
      calendar = newCalendar;
      render();
    },
  };
}

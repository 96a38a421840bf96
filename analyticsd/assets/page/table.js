// The numbers of the charts as a table, the last period first.

import { asApi } from "./time.js";
import { rateOf, writeCount, writeRate } from "./numbers.js";

const HEADS = { hour: "Hour", day: "Day", week: "Week", month: "Month" };

export function createTable({ details, body, column }) {
  let shown = null;

  const cells = (period) => [writeCount(period.unique_users), writeCount(period.clicks), writeCount(period.impressions), writeRate(rateOf(period))];

  function createRow(period) {
    const line = document.createElement("tr");
    line.dataset.from = asApi(period.from);
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = shown.calendar.row(shown.step, period);
    line.append(head);
    for (const text of cells(period)) line.append(Object.assign(document.createElement("td"), { textContent: text }));
    return line;
  }

  function render() {
    if (!details.open || shown === null) return;
    const { step, calendar } = shown;
    // A long name of a zone may break where it has parts.
    column.textContent = `${HEADS[step]} (${calendar.zoneName.replaceAll("/", "/\u200b").replaceAll("_", " ")})`;
    const wanted = [...shown.periods].reverse();
    const shape = `${step} ${calendar.zoneName} ${wanted.map(({ from, to }) => `${from}-${to}`)}`;
    if (body.shape === shape) {
      // If only numbers change, the reader's place in the table stays.
      wanted.forEach((period, index) => cells(period).forEach((text, at) => {
        const cell = body.rows[index].cells[at + 1];
        if (cell.textContent !== text) cell.textContent = text;
      }));
    } else {
      body.replaceChildren(...wanted.map(createRow));
      body.shape = shape;
    }
  }

  details.addEventListener("toggle", render);
  return {
    show(periods, step, calendar) {
      shown = { periods, step, calendar };
      render();
    },
  };
}

// Exports the view as CSV and as a picture.

import { asApi } from "./time.js";

/** The periods; those of hours are the same text as the daemon's for the same hours. Where users are not known the field is empty. */
export function csvOf(step, periods) {
  const startOf = ({ start, from }) => (step === "hour" ? asApi(from) : start);
  const lines = periods.map((period) => `${startOf(period)},${period.unique_users ?? ""},${period.clicks},${period.impressions}\n`);
  return `${step},unique_users,clicks,impressions\n${lines.join("")}`;
}

const MARGIN = 24;
const LINE = 20;
const GAP = 14;

/** A picture of the charts, with a description above them. `behind` says what is grey, or is null. */
export async function pngOf({ charts, element, title, subtitle, figures, behind }) {
  const scale = charts[0].canvas.width / charts[0].canvas.clientWidth;
  const width = charts[0].canvas.clientWidth + 2 * MARGIN;
  const head = MARGIN + LINE * (behind === null ? 3 : 4) + GAP;
  const height = charts.reduce((sum, { canvas }) => sum + LINE + canvas.clientHeight + GAP, head) + MARGIN - GAP;

  const picture = document.createElement("canvas");
  picture.width = Math.round(width * scale);
  picture.height = Math.round(height * scale);
  const paint = picture.getContext("2d");
  paint.scale(scale, scale);
  const style = getComputedStyle(element);
  const color = (name) => style.getPropertyValue(name).trim();
  const write = (text, y, font, ink, indent = 0) => {
    paint.font = `${font} ${style.fontFamily}`;
    paint.fillStyle = ink;
    paint.fillText(text, MARGIN + indent, y, width - 2 * MARGIN - indent);
  };
  /** A line with a mark in the colour that it is about. */
  const explain = (text, y, font, ink, mark) => {
    paint.fillStyle = mark;
    paint.fillRect(MARGIN, y + 2, 8, 8);
    write(text, y, font, ink, 14);
  };

  paint.fillStyle = color("--card");
  paint.fillRect(0, 0, width, height);
  paint.textBaseline = "top";
  write(title, MARGIN, "600 16px", color("--ink"));
  write(subtitle, MARGIN + LINE + 2, "13px", color("--quiet"));
  write(figures, MARGIN + 2 * LINE + 2, "13px", color("--ink"));
  if (behind !== null) explain(behind, MARGIN + 3 * LINE + 2, "12px", color("--quiet"), color("--before"));
  let y = head;
  for (const { series, name, canvas } of charts) {
    explain(name, y, "600 12px", color("--ink"), color(`--${series.replace("_", "-")}`));
    y += LINE;
    paint.drawImage(canvas, MARGIN, y, canvas.clientWidth, canvas.clientHeight);
    y += canvas.clientHeight + GAP;
  }
  return new Promise((resolve) => picture.toBlob(resolve, "image/png"));
}

/** Hands a file to the browser. */
export function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // By then the browser has begun to read it.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Not every system allows colons in file names. */
export function fileName(site, { from, to }, ending) {
  const short = (hour) => asApi(hour).slice(0, 13);
  return `analytics-${site === null ? "" : `${site}-`}${short(from)}Z-${short(to)}Z.${ending}`;
}

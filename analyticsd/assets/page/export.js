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

/** A picture of the charts, with a description above them. */
export async function pngOf({ charts, element, title, subtitle, figures }) {
  const scale = charts[0].canvas.width / charts[0].canvas.clientWidth;
  const width = charts[0].canvas.clientWidth + 2 * MARGIN;
  const head = MARGIN + LINE * 3 + GAP;
  const height = charts.reduce((sum, { canvas }) => sum + LINE + canvas.clientHeight + GAP, head) + MARGIN - GAP;

  const picture = document.createElement("canvas");
  picture.width = Math.round(width * scale);
  picture.height = Math.round(height * scale);
  const paint = picture.getContext("2d");
  paint.scale(scale, scale);
  const style = getComputedStyle(element);
  const color = (name) => style.getPropertyValue(name).trim();
  const write = (text, y, font, ink) => {
    paint.font = `${font} ${style.fontFamily}`;
    paint.fillStyle = ink;
    paint.fillText(text, MARGIN, y, width - 2 * MARGIN);
  };

  paint.fillStyle = color("--card");
  paint.fillRect(0, 0, width, height);
  paint.textBaseline = "top";
  write(title, MARGIN, "600 16px", color("--ink"));
  write(subtitle, MARGIN + LINE + 2, "13px", color("--quiet"));
  write(figures, MARGIN + 2 * LINE + 2, "13px", color("--ink"));
  let y = head;
  for (const { series, name, canvas } of charts) {
    paint.fillStyle = color(`--${series.replace("_", "-")}`);
    paint.fillRect(MARGIN, y + 2, 8, 8);
    paint.font = `600 12px ${style.fontFamily}`;
    paint.fillStyle = color("--ink");
    paint.fillText(name, MARGIN + 14, y);
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

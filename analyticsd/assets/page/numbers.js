// Formats numbers in the reader's locale.

const whole = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const coarsePercent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const tenths = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const NOTHING = "–";

/** Clicks for each impression. Without impressions there is no rate, which is not the same as zero. */
export const rateOf = ({ clicks, impressions }) => (impressions > 0 ? clicks / impressions : null);

export const writeCount = (count) => whole.format(count);
export const writeRate = (rate) => (rate === null ? NOTHING : percent.format(rate));
export const writeTick = (count) => compact.format(count);
export const writeRateTick = (rate) => coarsePercent.format(rate);

/** A series is named as in the API, and "rate". */
export const write = (series, value) => (series === "rate" ? writeRate(value) : writeCount(value));

/** How a number changed, as a sign and in words: a direction (1, 0 or -1), and a text. */
export function change(series, before, after) {
  if (series === "rate") {
    if (before === null || after === null) return null;
    const points = Math.round((after - before) * 1_000) / 10;
    return { direction: Math.sign(points), text: `${tenths.format(Math.abs(points))} points` };
  }
  if (before === 0) return after === 0 ? null : { direction: 1, text: "from none" };
  const share = Math.round(((after - before) / before) * 1_000) / 1_000;
  return { direction: Math.sign(share), text: percent.format(Math.abs(share)) };
}

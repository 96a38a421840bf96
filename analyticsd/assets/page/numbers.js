// Formats numbers in the reader's locale.

const whole = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(undefined, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const coarsePercent = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const tenths = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const NOTHING = "–";

/** Clicks for each impression. Without impressions there is no rate, which is not the same as zero. */
export const rateOf = ({ clicks, impressions }) => (impressions > 0 ? clicks / impressions : null);

/** A series is named as in the API, and "rate". */
export const valueOf = (series, counts) => (series === "rate" ? rateOf(counts) : counts[series]);

export const writeCount = (count) => (count === null ? NOTHING : whole.format(count));
export const writeRate = (rate) => (rate === null ? NOTHING : percent.format(rate));
export const writeShare = (share) => percent.format(share);
export const writePoints = (points) => tenths.format(points);
export const writeTick = (count) => compact.format(count);
export const writeRateTick = (rate) => coarsePercent.format(rate);

export const write = (series, value) => (series === "rate" ? writeRate(value) : writeCount(value));

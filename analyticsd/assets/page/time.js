// Instants and their formats. An instant is a number of milliseconds since 1970; an hour is the instant of its beginning.

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

export const hourOf = (instant) => Math.floor(instant / HOUR) * HOUR;

/** The daemon's format: 2026-11-24T07:00:00Z. */
export const asApi = (instant) => new Date(instant).toISOString().replace(".000Z", "Z");

/** The reader's time zone, by its IANA name. */
export const localZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** The offset of a zone from UTC at an instant, as "UTC" or "GMT+1". */
function offsetName(instant, timeZone) {
  if (timeZone === "UTC") return "UTC";
  const parts = new Intl.DateTimeFormat("en", { timeZone, timeZoneName: "shortOffset" }).formatToParts(instant);
  return parts.find((part) => part.type === "timeZoneName").value;
}

/** The days of a zone, which is "utc" or "local", and its formats of instants. */
export function calendar(zone) {
  const isUtc = zone === "utc";
  const timeZone = isUtc ? "UTC" : localZone();
  const formatter = (options) => new Intl.DateTimeFormat(undefined, { timeZone, hourCycle: "h23", ...options });
  const format = (options) => {
    const { format } = formatter(options);
    return (instant) => format(instant);
  };
  const time = format({ hour: "2-digit", minute: "2-digit" });
  const clock = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const dayWithoutYear = format({ weekday: "short", day: "numeric", month: "short" });
  const days = formatter({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
  const day = (instant) => days.format(instant);
  const month = format({ month: "long", year: "numeric" });
  const name = (instant) => offsetName(instant, timeZone);
  /** From the beginning of the first hour to the end of the last, in days where it is whole ones. */
  const range = ({ from, to }) => {
    const isWhole = startOf("day", from) === from && startOf("day", to + HOUR) === to + HOUR;
    if (isWhole) return days.formatRange(from, to);
    if (startOf("day", from) === startOf("day", to)) return `${day(from)}, ${time(from)}–${end(to)} ${name(to)}`;
    return `${day(from)}, ${time(from)} – ${day(to)}, ${end(to)} ${name(to)}`;
  };
  /** When an hour ends; at 24:00 of its day rather than 00:00 of the next. */
  const end = (hour) => (startOf("day", hour + HOUR) === hour + HOUR ? "24:00" : time(hour + HOUR));

  /** Year, month and day of an instant, the month from 0. */
  const dateOf = (instant) => {
    const at = new Date(instant);
    return isUtc ? [at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate()] : [at.getFullYear(), at.getMonth(), at.getDate()];
  };
  const midnight = (...date) => hourOf(isUtc ? Date.UTC(...date) : new Date(...date).getTime());
  /** When the day or month begins that is so many before or after that of an instant. */
  function startOf(unit, instant, shift = 0) {
    const [year, month, day] = dateOf(instant);
    return unit === "month" ? midnight(year, month + shift, 1) : midnight(year, month, day + shift);
  }

  return {
    zoneName: timeZone,
    startOf,
    time,
    shortDay: format({ day: "numeric", month: "short" }),
    shortMonth: format({ month: "short", year: "numeric" }),
    year: format({ year: "numeric" }),
    hourOfDay: (instant) => (isUtc ? new Date(instant).getUTCHours() : new Date(instant).getHours()),
    monthOfYear: (instant) => dateOf(instant)[1],
    /** 09:41:07 UTC */
    clock: (instant) => `${clock(instant)} ${name(instant)}`,
    /** 09:00–10:00 UTC */
    span: (hour) => `${time(hour)}–${time(hour + HOUR)} ${name(hour)}`,
    /** Tue, 24 Nov 2026, 09:00–10:00 UTC */
    hour: (hour) => range({ from: hour, to: hour }),
    /** Tue, 24 Nov 2026, 09:41 UTC */
    moment: (instant) => `${day(instant)}, ${time(instant)} ${name(instant)}`,
    range,
    /** A period by its step: an hour, a day, the days of a week, or a month. What is cut is named by its hours. */
    period: (step, { from, to }) => (step === "month" && startOf("month", from) === from && startOf("month", to + HOUR) === to + HOUR ? month(from) : range({ from, to })),
    /** The same where the column says the zone; a line breaks before its times. An hour that the clock shows twice still needs its offset. */
    row(step, period) {
      const { from } = period;
      if (step !== "hour") return this.period(step, period);
      const isTwice = [-HOUR, HOUR].some((shift) => time(from + shift) === time(from));
      return `${dayWithoutYear(from)}, ${time(from)}–\u2060${end(from)}${isTwice ? ` ${name(from)}` : ""}`;
    },
    /** The value of a date-time input. */
    toInput: (instant) => {
      const shift = isUtc ? 0 : new Date(instant).getTimezoneOffset() * 60_000;
      return new Date(instant - shift).toISOString().slice(0, 16);
    },
    /** NaN if the text is no date and time. */
    fromInput: (text) => (isUtc ? Date.parse(`${text}Z`) : new Date(text).getTime()),
  };
}

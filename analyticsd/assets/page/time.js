// Hours and their formats. An instant is a number of milliseconds since 1970; an hour is the instant of its beginning.

export const HOUR = 3_600_000;

export const hourOf = (instant) => Math.floor(instant / HOUR) * HOUR;

/** The daemon's format: 2026-11-24T07:00:00Z. */
export const asApi = (instant) => new Date(instant).toISOString().replace(".000Z", "Z");

/** The offset of the reader's zone from UTC at an instant, as "UTC" or "GMT+1". */
function offsetName(instant, timeZone) {
  if (timeZone === "UTC") return "UTC";
  const parts = new Intl.DateTimeFormat("en", { timeZone, timeZoneName: "shortOffset" }).formatToParts(instant);
  return parts.find((part) => part.type === "timeZoneName").value;
}

/** The formats of instants in a zone, which is "utc" or "local". */
export function calendar(zone) {
  const timeZone = zone === "utc" ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone;
  const format = (options) => {
    const formatter = new Intl.DateTimeFormat(undefined, { timeZone, hourCycle: "h23", ...options });
    return (instant) => formatter.format(instant);
  };
  const time = format({ hour: "2-digit", minute: "2-digit" });
  const clock = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const day = format({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
  const shortDay = format({ day: "numeric", month: "short" });
  const year = format({ year: "numeric" });
  const midnight = new Intl.DateTimeFormat("en", { timeZone, hourCycle: "h23", hour: "2-digit", minute: "2-digit" });
  const name = (instant) => offsetName(instant, timeZone);
  return {
    zoneName: timeZone,
    time,
    shortDay,
    year,
    /** Whether an hour is the first of its day, which begins at 00:30 where the time differs from UTC by half an hour. */
    isMidnight: (hour) => midnight.format(hour).startsWith("00"),
    /** Whether a label every so many hours falls on this hour. */
    isStep: (hour, step) => {
      const at = zone === "utc" ? new Date(hour) : new Date(hour - new Date(hour).getTimezoneOffset() * 60_000);
      if (step < 24) return at.getUTCHours() % step === 0;
      if (at.getUTCHours() !== 0) return false;
      if (step < 720) return Math.floor(at / 86_400_000) % (step / 24) === 0;
      if (at.getUTCDate() !== 1) return false;
      if (step < 8_760) return at.getUTCMonth() % (step / 720) === 0;
      return at.getUTCMonth() === 0 && at.getUTCFullYear() % (step / 8_760) === 0;
    },
    /** 09:41:07 UTC */
    clock: (instant) => `${clock(instant)} ${name(instant)}`,
    /** 09:00–10:00 UTC */
    span: (hour) => `${time(hour)}–${time(hour + HOUR)} ${name(hour)}`,
    /** Tue, Nov 24, 2026, 09:00–10:00 UTC */
    hour: (hour) => `${day(hour)}, ${time(hour)}–${time(hour + HOUR)} ${name(hour)}`,
    /** Tue, 24 Nov 2026, 09:00 UTC */
    moment: (instant) => `${day(instant)}, ${time(instant)} ${name(instant)}`,
    /** From the beginning of the first hour to the end of the last. */
    range: ({ from, to }) => `${day(from)}, ${time(from)} – ${day(to + HOUR)}, ${time(to + HOUR)} ${name(to)}`,
    /** The value of a date-time input. */
    toInput: (instant) => {
      const shift = zone === "utc" ? 0 : new Date(instant).getTimezoneOffset() * 60_000;
      return new Date(instant - shift).toISOString().slice(0, 16);
    },
    /** NaN if the text is no date and time. */
    fromInput: (text) => (zone === "utc" ? Date.parse(`${text}Z`) : new Date(text).getTime()),
  };
}

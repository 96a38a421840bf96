// Traffic that looks like a site's: quiet nights, quiet week-ends, and the same for the same seed.

import { HOUR, hourOf } from "./daemon.mjs";

function* numbers(seed) {
  for (let state = seed >>> 0; ; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** Events of the hours up to now, about `most` impressions in the busiest of them. */
export function traffic({ hours, most, until = Date.now(), seed = 7 }) {
  const random = numbers(seed);
  const next = () => random.next().value;
  const events = [];
  for (let ago = hours - 1; ago >= 0; ago--) {
    const hour = hourOf(until) - ago * HOUR;
    const length = ago === 0 ? until - hour : HOUR;
    const date = new Date(hour);
    const daily = 0.5 - 0.5 * Math.cos(((date.getUTCHours() - 3) / 24) * 2 * Math.PI);
    const weekly = [0, 6].includes(date.getUTCDay()) ? 0.55 : 1;
    const impressions = Math.round(most * weekly * (0.06 + 0.8 * daily ** 1.5) * (0.8 + 0.4 * next()) * (length / HOUR));
    for (let count = 0; count < impressions; count++) {
      const timestamp = hour + Math.floor(next() * length);
      const user = `visitor-${Math.floor(next() ** 1.6 * most * 6)}`;
      events.push({ timestamp, user, event: "impression" });
      if (next() < 0.055 + 0.03 * daily) events.push({ timestamp: Math.min(timestamp + 4_000, hour + length - 1), user, event: "click" });
    }
  }
  return events;
}

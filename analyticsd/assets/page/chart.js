// Four charts under each other that share their periods and the cursor, with the periods before drawn behind.

/* global uPlot */
import { valueOf, write, writeRateTick, writeTick } from "./numbers.js";
import { NARROWEST } from "./range.js";
import { createTooltip } from "./tooltip.js";

const SERIES = ["unique_users", "clicks", "impressions", "rate"];
const HEIGHT = { unique_users: 104, clicks: 104, impressions: 104, rate: 84 };
const AXIS_HEIGHT = 28;
const Y_AXIS_WIDTH = 46;
const LABEL_WIDTH = 54;
const COUNT_STEPS = [1, 2, 5].flatMap((step) => Array.from({ length: 12 }, (_, power) => step * 10 ** power)).sort((a, b) => a - b);

/** How many periods lie between two labels of the time axis, and which periods have one. */
const LABELS = {
  hour: { every: [1, 2, 3, 6, 12, 24], has: (calendar, { from }, every) => calendar.hourOfDay(from) % every === 0 },
  day: { every: [1, 2, 7, 14, 28], has: (_, __, every, index) => index % every === 0 },
  week: { every: [1, 2, 4, 8, 16, 32], has: (_, __, every, index) => index % every === 0 },
  month: { every: [1, 3, 6, 12, 60, 120], has: (calendar, { from }, every) => calendar.monthOfYear(from) % Math.min(every, 12) === 0 && (every <= 12 || Number(calendar.year(from)) % (every / 12) === 0) },
};
/** What Page Up and Page Down pass, in periods. */
const PAGE = { hour: 24, day: 7, week: 4, month: 12 };

/** The places of values without a neighbour. */
const lonely = (values) => values.flatMap((value, at) => (value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null ? [at] : []));

/** Bars as wide as their slots, to the pixel, so that they neither overlap nor leave gaps. */
function wholeSlots(plot, series, first, last) {
  const fill = new Path2D();
  const x = (place) => Math.round(plot.valToPos(place, "x", true));
  const bottom = plot.valToPos(0, "y", true);
  for (let at = first; at <= last; at++) {
    const top = plot.valToPos(plot.data[series][at] ?? 0, "y", true);
    fill.rect(x(at - 0.5), top, x(at + 0.5) - x(at - 0.5), bottom - top);
  }
  return { fill };
}

const heightOf = (series) => HEIGHT[series] + (series === SERIES.at(-1) ? AXIS_HEIGHT : 0);

/**
 * Draws into the panels of an element. onCursor(period or null) is called when a key moves the cursor, and onSelect({ from, to }) once when a
 * range was selected by dragging.
 */
export function createCharts(element, { onCursor, onSelect }) {
  const panels = SERIES.map((series) => ({ series, element: element.querySelector(`[data-series=${series}]`) }));
  const tooltip = createTooltip(element);
  /** What is drawn: { periods, earlier: the periods behind them, step, currentHour, calendar }. */
  let drawn = { periods: [], earlier: [] };
  /** The first hour of the period under the cursor. */
  let pointed = null;
  let isMoving = false;
  let drawnWidth = 0;
  let selecting = 0;

  const count = () => drawn.periods.length;
  const width = () => panels[0].element.querySelector(".plot").clientWidth;
  const slot = () => (width() - Y_AXIS_WIDTH - 8) / count();
  const indexOf = (hour) => drawn.periods.findIndex((period) => period.from === hour);
  const isCurrent = ({ from, to }) => from <= drawn.currentHour && drawn.currentHour <= to;

  function point(index) {
    pointed = index === null ? null : (drawn.periods[index]?.from ?? null);
    writeTooltip();
  }

  const labelOf = (period) => `${drawn.calendar.period(drawn.step, period)}${isCurrent(period) ? ", so far" : ""}`;

  function writeTooltip() {
    const index = indexOf(pointed);
    if (index < 0) return tooltip.hide();
    tooltip.write(labelOf(drawn.periods[index]), drawn.periods[index], drawn.earlier[index] ?? null);
  }

  function writePeaks() {
    for (const { series, element } of panels) {
      const most = drawn.periods.reduce((most, period) => Math.max(most, valueOf(series, period) ?? 0), 0);
      element.querySelector(".value").textContent = most > 0 ? `peak ${write(series, most)}` : "";
    }
  }

  /** The columns of one chart: places, what was before, what is. */
  function columns(series) {
    const before = (_, index) => (drawn.earlier[index] ? valueOf(series, drawn.earlier[index]) : null);
    return [drawn.periods.map((_, index) => index), drawn.periods.map(before), drawn.periods.map((period) => valueOf(series, period))];
  }

  /** The places of the time axis that have a label. */
  function labelled() {
    const { every, has } = LABELS[drawn.step];
    const needed = LABEL_WIDTH / slot();
    const chosen = every.find((one) => one >= needed) ?? every.at(-1);
    const places = drawn.periods.map((_, index) => index).filter((index) => has(drawn.calendar, drawn.periods[index], chosen, index));
    // Beyond the longest step labels are left out; and at the right edge, where one would be cut off.
    const gap = Math.max(1, Math.ceil(needed / chosen));
    return places.filter((place, at) => at % gap === 0 && (count() - place - 0.5) * slot() > 18);
  }

  function tick({ from }) {
    const { calendar, step } = drawn;
    if (step === "month") return slot() * 12 < LABEL_WIDTH ? calendar.year(from) : calendar.shortMonth(from);
    return step !== "hour" || calendar.hourOfDay(from) === 0 ? calendar.shortDay(from) : calendar.time(from);
  }

  function options(series) {
    const style = getComputedStyle(element);
    const color = (name) => style.getPropertyValue(name).trim();
    const isRate = series === "rate";
    const isLast = series === SERIES.at(-1);
    const areBars = !isRate && slot() >= NARROWEST * 0.75;
    const stroke = color(`--${series.replace("_", "-")}`);
    const faded = color(`--${series.replace("_", "-")}-faded`);
    const axis = { font: `11px ${style.fontFamily}`, stroke: color("--quiet"), ticks: { show: false } };
    // A line needs two values: one without a neighbour is a point.
    const line = (stroke, isDotted) => ({
      stroke,
      width: 1.5,
      spanGaps: false,
      points: { show: isDotted, size: 4, width: 1, stroke, fill: stroke, filter: (plot, index) => (isDotted ? null : lonely(plot.data[index])) },
    });
    const bars = { width: 0, points: { show: false } };
    // A period that is not over cannot be compared with the others yet.
    const fillOfEach = { disp: { fill: { unit: 3, values: () => drawn.periods.map((period) => (isCurrent(period) ? faded : stroke)) } } };
    return {
      width: width(),
      height: heightOf(series),
      padding: [10, 8, isLast ? 0 : 4, 0],
      legend: { show: false },
      cursor: {
        y: false,
        // The cursor covers a whole period.
        move: (plot, left, top) => (left < 0 ? [left, top] : [plot.valToPos(plot.posToIdx(left), "x"), top]),
        sync: { key: "periods" },
        drag: { x: true, y: false, setScale: false, dist: 6 },
        points: { show: false },
      },
      scales: {
        x: { time: false, range: () => [-0.5, count() - 0.5] },
        // Always from zero: other bars would mislead.
        y: { range: (_, __, most) => [0, Math.max((most ?? 0) * 1.06, isRate ? 0.01 : 1)] },
      },
      axes: [
        {
          ...axis,
          size: isLast ? AXIS_HEIGHT : 0,
          gap: 6,
          splits: labelled,
          values: (_, places) => places.map((place) => (isLast ? tick(drawn.periods[place]) : "")),
          grid: { show: false },
        },
        {
          ...axis,
          size: Y_AXIS_WIDTH,
          space: 30,
          gap: 8,
          ...(isRate ? {} : { incrs: COUNT_STEPS }),
          values: (_, splits) => splits.map((split) => (isRate ? writeRateTick(split) : writeTick(split))),
          grid: { stroke: color("--grid"), width: 1 },
        },
      ],
      series: [
        {},
        areBars ? { ...bars, paths: wholeSlots, fill: color("--before") } : line(color("--before-line"), false),
        areBars ? { ...bars, paths: uPlot.paths.bars({ size: [0.66, 64], radius: count() > 60 ? 0 : 0.1, ...fillOfEach }), fill: stroke } : { ...line(stroke, isRate && count() <= 60), fill: isRate ? undefined : faded },
      ],
      hooks: {
        setCursor: [(plot) => !isMoving && plot === panels[0].plot && point(plot.cursor.idx ?? null)],
        setSelect: [select],
      },
    };
  }

  /** The charts select together, so each of them calls this; the reader has selected once. */
  function select(plot) {
    const { left, width } = plot.select;
    if (width === 0) return;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    const [first, last] = [left, left + width].map((at) => drawn.periods[plot.posToIdx(at)]);
    clearTimeout(selecting);
    selecting = setTimeout(() => onSelect({ from: first.from, to: last.to }));
  }

  function draw() {
    drawnWidth = width();
    for (const panel of panels) panel.plot?.destroy();
    for (const panel of panels) {
      panel.plot = new uPlot(options(panel.series), columns(panel.series), panel.element.querySelector(".plot"));
      // So that a test can read what was drawn.
      panel.element.plot = panel.plot;
    }
  }

  /** Puts the cursor back on its period, at its new place. */
  function showPointed() {
    const index = indexOf(pointed);
    if (index < 0) pointed = null;
    isMoving = true;
    for (const { plot } of panels) {
      plot.over.style.setProperty("--slot", `${Math.max(1, plot.over.clientWidth / count())}px`);
      plot.setCursor({ left: index < 0 ? -10 : plot.valToPos(index, "x"), top: index < 0 ? -10 : 10 }, true, false);
    }
    isMoving = false;
    writeTooltip();
  }

  /**
   * Changes the charts without losing the cursor's period. uPlot draws at the end of the current task, and only then knows
   * positions; until then its events of the cursor do not come from the reader.
   */
  function redraw(change) {
    isMoving = true;
    change();
    queueMicrotask(showPointed);
  }

  const KEYS = {
    ArrowLeft: (at) => at - 1,
    ArrowRight: (at) => at + 1,
    PageUp: (at) => at - PAGE[drawn.step],
    PageDown: (at) => at + PAGE[drawn.step],
    Home: () => 0,
    End: () => count() - 1,
  };

  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || count() === 0) return;
    if (event.key === "Escape") {
      pointed = null;
      showPointed();
      return onCursor(null);
    }
    const move = KEYS[event.key];
    if (!move) return;
    event.preventDefault();
    const at = indexOf(pointed);
    const to = at < 0 && event.key !== "Home" ? count() - 1 : move(at);
    const index = Math.min(Math.max(to, 0), count() - 1);
    pointed = drawn.periods[index].from;
    showPointed();
    tooltip.place(Y_AXIS_WIDTH + (index + 0.5) * slot(), 40);
    onCursor({ label: labelOf(drawn.periods[index]), period: drawn.periods[index] });
  });

  element.addEventListener("pointermove", ({ clientX, clientY }) => {
    const { left, top } = element.getBoundingClientRect();
    tooltip.place(clientX - left, clientY - top);
  });

  // A chart of the same width must not be drawn again: drawing would trigger the observer again and again.
  new ResizeObserver(() => {
    if (count() === 0 || width() === 0 || width() === drawnWidth) return;
    redraw(draw);
  }).observe(element);

  for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
    matchMedia(query).addEventListener("change", () => {
      // Without room to draw now, it is drawn when there is room.
      if (width() === 0) drawnWidth = 0;
      else if (count() > 0) redraw(draw);
    });
  }

  return {
    /** How wide the bars of a period may be together. */
    width: () => width() - Y_AXIS_WIDTH - 8,
    /** Shows other periods, or new numbers. */
    show(next) {
      const shape = ({ periods, step, calendar }) => `${step} ${calendar?.zoneName} ${periods.length} ${periods[0]?.from}`;
      const isSameShape = panels[0].plot && shape(drawn) === shape(next);
      drawn = next;
      if (count() === 0) return;
      writePeaks();
      redraw(() => {
        if (!isSameShape) return draw();
        for (const { series, plot } of panels) plot.setData(columns(series));
      });
    },
    /** For a picture: the charts, in order. */
    canvases: () => panels.map(({ series, element, plot }) => ({ series, name: element.querySelector(".name").textContent, canvas: plot.ctx.canvas })),
  };
}

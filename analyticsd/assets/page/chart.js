// Four charts under each other that share their hours and the cursor.

/* global uPlot */
import { HOUR } from "./time.js";
import { rateOf, write, writeRateTick, writeTick } from "./numbers.js";

const SERIES = ["unique_users", "clicks", "impressions", "rate"];
const HEIGHT = { unique_users: 104, clicks: 104, impressions: 104, rate: 84 };
const AXIS_HEIGHT = 28;
const Y_AXIS_WIDTH = 46;
/** The steps between two labels of the time axis, in hours; months and years by their usual length. */
const STEPS = [1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720, 2_160, 4_320, 8_760, 17_520, 43_800];
/** With more hours than this, bars would be thinner than a pixel. */
const MOST_BARS = 800;
const COUNT_STEPS = [1, 2, 5].flatMap((step) => Array.from({ length: 12 }, (_, power) => step * 10 ** power)).sort((a, b) => a - b);

const heightOf = (series) => HEIGHT[series] + (series === SERIES.at(-1) ? AXIS_HEIGHT : 0);

export const valueOf = (series, row) => (series === "rate" ? rateOf(row) : row[series]);

/**
 * Draws into the panels of an element. onCursor(index or null, isByKey) is called when the cursor moves to another hour, and
 * onSelect({ from, to }) when a range was selected by dragging.
 */
export function createCharts(element, { onCursor, onSelect }) {
  const panels = SERIES.map((series) => ({ series, element: element.querySelector(`[data-series=${series}]`) }));
  let rows = [];
  let currentHour = 0;
  let calendar = null;
  let pointed = null;
  let isMoving = false;
  let drawnWidth = 0;

  const x = () => rows.map((row) => (row.hour + HOUR / 2) / 1_000);
  const width = () => panels[0].element.querySelector(".plot").clientWidth;

  function point(index, isByKey = false) {
    const hour = index === null ? null : rows[index]?.hour ?? null;
    if (hour === pointed && !isByKey) return;
    pointed = hour;
    writeValues();
    onCursor(hour === null ? null : index, isByKey);
  }

  function writeValues() {
    const index = rows.findIndex((row) => row.hour === pointed);
    for (const { series, element } of panels) {
      const value = element.querySelector(".value");
      if (index >= 0) {
        value.textContent = write(series, valueOf(series, rows[index]));
      } else {
        const most = rows.reduce((most, row) => Math.max(most, valueOf(series, row) ?? 0), 0);
        value.textContent = rows.length && most > 0 ? `peak ${write(series, most)}` : "";
      }
      value.classList.toggle("is-pointed", index >= 0);
    }
  }

  /** The columns of one chart: times in seconds, in the middle of their hours, so that the nearest time is the hour under the pointer. */
  function columns(series) {
    return [x(), rows.map((row) => valueOf(series, row))];
  }

  function options(series) {
    const style = getComputedStyle(element);
    const color = (name) => style.getPropertyValue(name).trim();
    const isRate = series === "rate";
    const isLast = series === SERIES.at(-1);
    const areBars = !isRate && rows.length <= MOST_BARS;
    const stroke = color(`--${series.replace("_", "-")}`);
    const faded = color(`--${series.replace("_", "-")}-faded`);
    const font = `11px ${style.fontFamily}`;
    return {
      width: width(),
      height: heightOf(series),
      padding: [10, 8, isLast ? 0 : 4, 0],
      legend: { show: false },
      cursor: {
        y: false,
        // The cursor covers a whole hour.
        move: (plot, left, top) => (left < 0 ? [left, top] : [middleOf(plot, plot.posToIdx(left)), top]),
        sync: { key: "hours" },
        drag: { x: true, y: false, setScale: false, dist: 6 },
        points: { show: !areBars, size: 7, width: 2, stroke, fill: color("--card") },
      },
      scales: {
        x: { range: () => [rows[0].hour / 1_000, (rows.at(-1).hour + HOUR) / 1_000] },
        // Always from zero: other bars would mislead.
        y: { range: (_, __, most) => [0, Math.max(most * 1.06, isRate ? 0.01 : 1)] },
      },
      axes: [
        {
          size: isLast ? AXIS_HEIGHT : 0,
          space: 64,
          gap: 6,
          font,
          stroke: color("--quiet"),
          incrs: STEPS.map((hours) => hours * 3_600),
          splits: (_, __, ___, ____, step) => rows.map((row) => row.hour).filter((hour) => calendar.isStep(hour, step / 3_600)).map((hour) => hour / 1_000),
          values: (_, splits, __, ___, step) => splits.map((split) => (isLast && hasRoom(split * 1_000) ? tick(split * 1_000, step / 3_600) : "")),
          grid: { stroke: color("--grid"), width: 1 },
          ticks: { show: false },
        },
        {
          size: Y_AXIS_WIDTH,
          space: 30,
          gap: 8,
          font,
          stroke: color("--quiet"),
          ...(isRate ? {} : { incrs: COUNT_STEPS }),
          values: (_, splits) => splits.map((split) => (isRate ? writeRateTick(split) : writeTick(split))),
          grid: { stroke: color("--grid"), width: 1 },
          ticks: { show: false },
        },
      ],
      series: [
        {},
        areBars
          ? {
              width: 0,
              fill: stroke,
              points: { show: false },
              paths: uPlot.paths.bars({
                size: [rows.length > 200 ? 1 : 0.78, 56],
                radius: rows.length > 60 ? 0 : 0.12,
                // An hour that is not over cannot be compared with the others yet.
                disp: { fill: { unit: 3, values: () => rows.map((row) => (row.hour === currentHour ? faded : stroke)) } },
              }),
            }
          : {
              stroke,
              width: 1.5,
              fill: isRate ? undefined : faded,
              spanGaps: false,
              points: { show: rows.length <= 60, size: 4, width: 1, stroke, fill: stroke },
            },
      ],
      hooks: {
        setCursor: [(plot) => !isMoving && plot === panels[0].plot && point(plot.cursor.idx ?? null)],
        setSelect: [
          (plot) => {
            const { left, width } = plot.select;
            if (width === 0) return;
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            const [from, to] = [left, left + width].map((at) => rows[plot.posToIdx(at)].hour);
            onSelect({ from, to });
          },
        ],
      },
    };
  }

  function tick(instant, step) {
    if (step >= 8_760) return calendar.year(instant);
    return step >= 24 || calendar.isMidnight(instant) ? calendar.shortDay(instant) : calendar.time(instant);
  }

  /** Hides a label at the right edge, which would be cut off. */
  function hasRoom(instant) {
    const share = (instant - rows[0].hour) / (rows.length * HOUR);
    return (1 - share) * (width() - Y_AXIS_WIDTH) > 14;
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

  const middleOf = (plot, index) => plot.valToPos((rows[index].hour + HOUR / 2) / 1_000, "x");

  /** Puts the cursor back on its hour, at that hour's new position. */
  function showPointed() {
    const index = rows.findIndex((row) => row.hour === pointed);
    isMoving = true;
    for (const { plot } of panels) {
      const left = index < 0 ? -10 : middleOf(plot, index);
      plot.over.style.setProperty("--hour-width", `${Math.max(1, plot.over.clientWidth / rows.length)}px`);
      plot.setCursor({ left, top: index < 0 ? -10 : 10 }, true, false);
    }
    isMoving = false;
    if (index < 0) pointed = null;
    writeValues();
  }

  /**
   * Changes the charts without losing the cursor's hour. uPlot draws at the end of the current task, and only then knows
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
    PageUp: (at) => at - 24,
    PageDown: (at) => at + 24,
    Home: () => 0,
    End: () => rows.length - 1,
  };

  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || rows.length === 0) return;
    if (event.key === "Escape") {
      pointed = null;
      showPointed();
      onCursor(null, true);
      return;
    }
    const move = KEYS[event.key];
    if (!move) return;
    event.preventDefault();
    const at = rows.findIndex((row) => row.hour === pointed);
    const to = at < 0 && event.key !== "Home" ? rows.length - 1 : move(at);
    const index = Math.min(Math.max(to, 0), rows.length - 1);
    pointed = rows[index].hour;
    showPointed();
    onCursor(index, true);
  });

  // A chart of the same width must not be drawn again: drawing would trigger the observer again and again.
  new ResizeObserver(() => {
    if (rows.length === 0 || width() === 0 || width() === drawnWidth) return;
    drawnWidth = width();
    redraw(() => {
      for (const { series, plot } of panels) plot?.setSize({ width: drawnWidth, height: heightOf(series) });
    });
  }).observe(element);

  for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
    matchMedia(query).addEventListener("change", () => {
      // Without room to draw now, it is drawn when there is room.
      if (width() === 0) calendar = null;
      else if (rows.length > 0) redraw(draw);
    });
  }

  return {
    /** Shows other hours, or new numbers. */
    show(newRows, newCurrentHour, newCalendar) {
      const isSameShape = rows.length === newRows.length && rows[0]?.hour === newRows[0]?.hour && newCalendar === calendar && panels[0].plot;
      rows = newRows;
      currentHour = newCurrentHour;
      calendar = newCalendar;
      if (rows.length === 0) return;
      redraw(() => {
        if (!isSameShape) return draw();
        for (const { series, plot } of panels) plot.setData(columns(series));
      });
    },
    /** For a picture: the charts, in order. */
    canvases: () => panels.map(({ series, element, plot }) => ({ series, name: element.querySelector(".name").textContent, canvas: plot.ctx.canvas })),
  };
}

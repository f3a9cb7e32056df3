// @ts-check
// Curves over the dose, and ranks.

/**
 * @typedef {{x: number, value: number, low: number, high: number, seeds: number[], label: string}} Point
 */

/**
 * A curve with its intervals and the points of the single seeds.
 * @param {Point[]} measured  Those without a value are left out.
 * @param {{
 *   title: string, unit: string, digits?: number, at?: number, zero?: boolean, signed?: boolean, beside?: Point[],
 * }} options  `beside`: the points of a chart that has the same scale.
 */
function doseChart(measured, { title, unit, digits = 1, at = -1, zero = false, signed = false, beside = [] }) {
  const [width, height, left, right, top, bottom] = [420, 210, 46, 22, 12, 34];
  const points = measured.filter((each) => Number.isFinite(each.value));
  const drawn = [...points, ...beside];
  const all = drawn.flatMap((each) => [each.value, each.low, each.high, ...each.seeds]).filter(Number.isFinite);
  if (zero) all.push(0);
  const [low, high] = niceRange(all);
  const last = Math.max(...points.map((each) => each.x), 0.01);
  const x = (/** @type {number} */ value) => left + ((width - left - right) * value) / last;
  const y = (/** @type {number} */ value) =>
    height - bottom - ((height - top - bottom) * (value - low)) / (high - low || 1);
  const known = points.filter((each) => Number.isFinite(each.low));
  const band = [
    ...known.map((each) => [x(each.x), y(each.high)]),
    ...[...known].reverse().map((each) => [x(each.x), y(each.low)]),
  ];
  const words = points.map((each) => `${each.label}: ${intervalWords(each, digits, signed)}`).join("; ");
  const svg = draw(
    "svg",
    { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}, ${unit}. ${words}` },
    ticks(low, high).flatMap((tick) => [
      draw("line", { class: "rule", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
      draw("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick, tick % 1 ? 1 : 0, signed)),
    ]),
    zero && draw("line", { class: "zero", x1: left, x2: width - right, y1: y(0), y2: y(0) }),
    points.map((each) =>
      draw("text", { x: x(each.x), y: height - bottom + 18, "text-anchor": "middle" }, percent(each.x)),
    ),
    known.length > 1 && draw("polygon", { class: "band", points: band.map((pair) => pair.join(",")).join(" ") }),
    draw("polyline", { class: "line", points: points.map((each) => `${x(each.x)},${y(each.value)}`).join(" ") }),
    points.flatMap((each) =>
      each.seeds.map((value) => draw("circle", { class: "seed", cx: x(each.x), cy: y(value), r: 2.2 })),
    ),
    points.map((each, place) =>
      draw(
        "circle",
        { class: place === at ? "point now" : "point", cx: x(each.x), cy: y(each.value), r: place === at ? 5 : 3.5 },
        draw("title", {}, `${each.label}: ${intervalWords(each, digits, signed)} ${unit}`),
      ),
    ),
  );
  return make(
    "figure",
    { class: "dose" },
    make("figcaption", {}, title, " ", make("span", { class: "soft" }, unit)),
    svg,
  );
}

/** @param {Point} point @param {number} digits @param {boolean} signed */
function intervalWords(point, digits, signed) {
  const ends = Number.isFinite(point.low)
    ? ` [${number(point.low, digits, signed)}, ${number(point.high, digits, signed)}]`
    : "";
  return number(point.value, digits, signed) + ends;
}

/** @param {number[]} values @returns {[number, number]} */
function niceRange(values) {
  if (!values.length) return [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  return [low === 0 ? 0 : low - room, high + room];
}

/** @param {number} low @param {number} high */
function ticks(low, high) {
  const power = 10 ** Math.floor(Math.log10((high - low || 1) / 5));
  const step = power * ([1, 2, 5, 10].find((each) => (high - low) / (each * power) <= 6) ?? 10);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) found.push(Math.round(tick / step) * step);
  return found;
}

/**
 * A cell's curve over the dose, small: its change from the baseline at each level.
 * @param {{x: number, value: number, low: number, high: number, marked: boolean}[]} measured
 * @param {number} limit
 */
function sparkline(measured, limit) {
  const points = measured.filter((each) => Number.isFinite(each.value));
  const [width, height] = [60, 44];
  const last = Math.max(...points.map((each) => each.x), 0.01);
  const x = (/** @type {number} */ value) => 4 + ((width - 8) * value) / last;
  const y = (/** @type {number} */ value) =>
    height / 2 - Math.max(-1, Math.min(1, value / (limit || 1))) * (height / 2 - 3);
  const known = points.filter((each) => Number.isFinite(each.low));
  const band = [
    ...known.map((each) => [x(each.x), y(each.high)]),
    ...[...known].reverse().map((each) => [x(each.x), y(each.low)]),
  ];
  const end = points.at(-1)?.value ?? 0;
  const tone = points.some((each) => each.marked) ? (end < 0 ? "fewer" : "more") : "flat";
  return draw(
    "svg",
    { class: `spark ${tone}`, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("line", { class: "zero", x1: 0, x2: width, y1: height / 2, y2: height / 2 }),
    known.length > 1 && draw("polygon", { class: "band", points: band.map((pair) => pair.join(",")).join(" ") }),
    draw("polyline", { class: "line", points: points.map((each) => `${x(each.x)},${y(each.value)}`).join(" ") }),
  );
}

/**
 * The levels of a series that can be compared with the baseline, with the change of some cells at each.
 * @param {Model} model
 * @param {Series} series
 * @param {number[]} trues
 * @param {number[]} preds
 * @param {"counts" | "rates"} units
 */
function cellCurve(model, series, trues, preds, units) {
  const per = units === "rates" ? model.sizeOf(trues) / 100 : 1;
  const single = trues.length === 1 && preds.length === 1;
  return series.conditions
    .filter((c) => model.baseline >= 0 && model.shared(c, model.baseline).length)
    .map((c) => {
      const condition = model.values.conditions[c];
      const runs = model.shared(c, model.baseline).map((seed) => {
        const [now, then] = [model.run(c, seed), model.run(model.baseline, seed)];
        return (model.countOf(now, trues, preds) - model.countOf(then, trues, preds)) / per;
      });
      const cell = trues[0] * model.numClasses + preds[0];
      const estimate = single ? model.estimate(c, model.baseline, cell) : null;
      const start = c === model.baseline;
      return {
        condition: c,
        x: condition.level,
        value: estimate ? estimate.value / per : runs.reduce((sum, each) => sum + each, 0) / runs.length,
        low: start ? 0 : (estimate?.low ?? Number.NaN) / per,
        high: start ? 0 : (estimate?.high ?? Number.NaN) / per,
        marked: estimate?.marked ?? false,
        seeds: start ? [] : runs,
        label: condition.label,
      };
    });
}

/**
 * How probable each rank is.
 * @param {(number | null)[]} chances
 * @param {string} label
 */
function rankBars(chances, label) {
  return make(
    "div",
    {
      class: "ranks",
      role: "img",
      "aria-label": `${label}: ${chances.map((each, rank) => `rank ${rank + 1} ${percent(each ?? 0)}`).join(", ")}`,
    },
    chances.map((each, rank) => {
      const bar = make("i");
      bar.style.height = `${Math.round(64 * (each ?? 0))}px`;
      const text = (each ?? 0) >= 0.005 ? `${Math.round(100 * (each ?? 0))}` : "";
      return make("span", {}, make("small", {}, text), bar, make("small", { class: "soft" }, rank + 1));
    }),
  );
}

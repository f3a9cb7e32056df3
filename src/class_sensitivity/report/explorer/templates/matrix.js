// @ts-check
// The matrix: a table of cells that can be focused, in the article's view or with the truth in rows.

/**
 * @typedef {object} Cell
 * @property {number} value  In the units that are shown.
 * @property {number} count  The same in test images.
 * @property {Estimate | null} estimate  What Python says of it, in test images.
 * @property {boolean} shown  Whether its number is written.
 *
 * @typedef {object} Grid
 * @property {Group[]} groups
 * @property {number} condition
 * @property {number} other  -1: one condition alone.
 * @property {"counts" | "rates"} units
 * @property {boolean} estimated  Whether there are intervals.
 * @property {number} limit  Of the scale, in the units that are shown.
 * @property {(truth: number, pred: number) => Cell} cell
 */

/**
 * The cells of a condition, or of the difference between two.
 * @param {Model} model
 * @param {{groups: Group[], condition: number, other: number, units: "counts" | "rates", significant?: boolean}} asked
 * @returns {Grid}
 */
function gridOf(model, { groups, condition, other, units, significant = false }) {
  const k = model.numClasses;
  const relative = other >= 0;
  const seeds = relative ? model.shared(condition, other) : model.values.conditions[condition].seeds;
  const now = model.mean(condition, seeds);
  const then = relative ? model.mean(other, seeds) : null;
  const estimated = relative && model.comparison(condition, other) >= 0;
  const sizes = groups.map((group) => model.sizeOf(group.classes));
  const scaled = (/** @type {number} */ count, /** @type {number} */ truth) =>
    units === "rates" ? (100 * count) / sizes[truth] : count;
  return {
    groups,
    condition,
    other,
    units,
    estimated,
    limit: scaleLimit(model, groups, relative, units),
    cell(truth, pred) {
      const [trues, preds] = [groups[truth].classes, groups[pred].classes];
      const single = trues.length === 1 && preds.length === 1;
      const estimate = estimated && single ? model.estimate(condition, other, trues[0] * k + preds[0]) : null;
      let count = estimate?.value ?? 0;
      if (!estimate)
        for (const i of trues) for (const j of preds) count += now[i * k + j] - (then ? then[i * k + j] : 0);
      const shown = !significant || (estimate?.marked ?? false);
      return { value: scaled(count, truth), count, estimate, shown };
    },
  };
}

/** @type {WeakMap<Model, Map<string, number>>} */
const limits = new WeakMap();

/**
 * The end of the colour scale: one for all relative matrices, one for the mistakes of all conditions.
 * @param {Model} model
 * @param {Group[]} groups
 * @param {boolean} relative
 * @param {"counts" | "rates"} units
 */
function scaleLimit(model, groups, relative, units) {
  const merged = groups.some((group) => group.kind === "merged");
  if (relative && units === "counts" && !merged) return model.values.limit;
  const key = `${relative}:${units}:${groups.map((group) => group.classes)}`;
  const known = limits.get(model) ?? new Map();
  limits.set(model, known);
  if (!known.has(key)) known.set(key, largestCell(model, groups, relative, units));
  return known.get(key) ?? 1;
}

/**
 * @param {Model} model
 * @param {Group[]} groups
 * @param {boolean} relative
 * @param {"counts" | "rates"} units
 */
function largestCell(model, groups, relative, units) {
  const k = model.numClasses;
  let largest = 0;
  model.values.conditions.forEach((each, condition) => {
    const seeds = relative ? model.shared(condition, model.baseline) : each.seeds;
    if (!seeds.length) return;
    const [now, then] = [model.mean(condition, seeds), relative ? model.mean(model.baseline, seeds) : null];
    for (const truth of groups) {
      const size = units === "rates" ? model.sizeOf(truth.classes) / 100 : 1;
      if (truth.kind === "other" || !size) continue;
      for (const pred of groups) {
        if (pred.kind === "other" || (!relative && truth === pred)) continue;
        let sum = 0;
        for (const i of truth.classes)
          for (const j of pred.classes) sum += now[i * k + j] - (then ? then[i * k + j] : 0);
        largest = Math.max(largest, Math.abs(sum) / size);
      }
    }
  });
  return largest;
}

/**
 * The text of a cell: small, with its sign.
 * @param {Grid} grid
 * @param {number} value
 */
function cellText(grid, value) {
  if (!Number.isFinite(value)) return "";
  const digits = grid.units === "rates" || Math.abs(value) < 10 ? 1 : 0;
  const text = number(value, digits, grid.other >= 0);
  return /[1-9]/.test(text) ? text : "·";
}

/**
 * The colour of a cell.
 * @param {Model} model
 * @param {Grid} grid
 * @param {number} truth
 * @param {number} pred
 * @param {Cell} cell
 */
function cellColour(model, grid, truth, pred, cell) {
  if (!Number.isFinite(cell.value) || !cell.shown) return shade(DIVERGING[scheme()], 0.5);
  if (grid.other >= 0) return diverging(cell.value, grid.limit);
  if (truth === pred) return shade(RIGHT[scheme()], cell.count / model.sizeOf(grid.groups[truth].classes));
  return shade(MISTAKES[scheme()], Math.sqrt(cell.value / (grid.limit || 1)));
}

/** Whether grey ink can be read on a colour. @param {{light: number}} colour */
function isPale({ light }) {
  return scheme() === "dark" ? light < 0.045 : light > 0.72;
}

/**
 * @param {Model} model
 * @param {Grid} grid
 * @param {number} truth
 * @param {number} pred
 */
function cellWords(model, grid, truth, pred) {
  const cell = grid.cell(truth, pred);
  const [from, to] = [grid.groups[truth].label, grid.groups[pred].label];
  const what = truth === pred ? `${from}, predicted right` : `${from} taken for ${to}`;
  const size = model.sizeOf(grid.groups[truth].classes);
  if (!size) return `${what}: no test images of this class`;
  const [words, text] = [valueWords(model, grid, cell, truth), cellText(grid, cell.value)];
  // Who speaks to the page says what is written on it.
  return `${what}: ${words}${cell.shown && !words.includes(text) ? `, rounded ${text}` : ""}`;
}

/**
 * The value of a cell with all that is known of it.
 * @param {Model} model
 * @param {Grid} grid
 * @param {Cell} cell
 * @param {number} truth
 */
function valueWords(model, grid, cell, truth) {
  const unit = grid.units === "rates" ? (grid.other >= 0 ? "points" : "%") : "test images";
  const signed = grid.other >= 0;
  const words = [`${number(cell.value, 1, signed)} ${unit}`];
  if (cell.estimate && Number.isFinite(cell.estimate.low)) {
    const per = grid.units === "rates" ? model.sizeOf(grid.groups[truth].classes) / 100 : 1;
    const [low, high] = [cell.estimate.low / per, cell.estimate.high / per];
    words[0] += ` [${number(low, 1, true)}, ${number(high, 1, true)}]`;
    if (cell.estimate.judged) words.push(`adjusted p ${pValue(cell.estimate.p)}`);
    else words.push("too few images to be judged");
    if (cell.estimate.marked) words.push("differs from 0");
  }
  return words.join(", ");
}

/**
 * Rows and columns of the picture, from the top left: which group's truth or prediction is where.
 * @param {number} size
 * @param {"article" | "rows"} layout
 * @param {number} row
 * @param {number} column
 */
function cellAt(size, layout, row, column) {
  return layout === "rows" ? { truth: row, pred: column } : { truth: column, pred: size - 1 - row };
}

class MatrixTable {
  /**
   * @param {Model} model
   * @param {{
   *   label: string, open: (truth: number, pred: number) => void, header?: (group: Group) => void,
   *   compact?: boolean, content?: (truth: number, pred: number) => Node,
   * }} options
   */
  constructor(model, options) {
    this.model = model;
    this.options = options;
    this.element = make("div", { class: options.compact ? "matrix compact" : "matrix" });
    /** @type {HTMLTableCellElement[][]} */ this.cells = [];
    /** @type {[number, number]} */ this.focused = [0, 0];
    this.layout = "";
    /** @type {Grid | null} */ this.grid = null;
  }

  /**
   * Shows a grid; cells stay where they are, and so does the focus, unless classes or layout change.
   * @param {Grid} grid
   * @param {State} state
   */
  update(grid, state) {
    this.grid = grid;
    const layout = `${state.t}:${grid.groups.map((group) => group.classes.join("."))}`;
    if (layout !== this.layout) this.build(grid, state);
    this.layout = layout;
    const chosen = state.cell;
    const marks = new Set(state.hl);
    this.cells.forEach((row, r) => {
      row.forEach((element, c) => {
        const { truth, pred } = cellAt(grid.groups.length, state.t, r, c);
        const cell = grid.cell(truth, pred);
        const colour = cellColour(this.model, grid, truth, pred, cell);
        element.style.backgroundColor = colour.fill;
        element.style.color = colour.ink;
        const isChosen = chosen && grid.groups[truth].key === chosen[0] && grid.groups[pred].key === chosen[1];
        element.className = [
          "cell",
          truth === pred ? "diagonal" : "",
          cell.estimate?.marked && cell.shown ? "marked" : "",
          cell.estimate && !cell.estimate.judged ? (isPale(colour) ? "unjudged pale" : "unjudged") : "",
          isChosen ? "chosen" : "",
        ].join(" ");
        element.setAttribute("aria-selected", String(Boolean(isChosen)));
        element.setAttribute("aria-label", cellWords(this.model, grid, truth, pred));
        if (this.options.content) element.replaceChildren(this.options.content(truth, pred));
        else element.textContent = cell.shown ? cellText(grid, cell.value) : "";
      });
    });
    for (const header of this.element.querySelectorAll("[data-group]")) {
      const group = grid.groups[Number(/** @type {HTMLElement} */ (header).dataset.group)];
      header.classList.toggle(
        "pointed",
        group.classes.some((each) => marks.has(each)),
      );
    }
  }

  /**
   * @param {Grid} grid
   * @param {State} state
   */
  build(grid, state) {
    const { groups } = grid;
    const hadFocus = this.element.contains(document.activeElement);
    const rows = state.t === "rows";
    this.cells = [];
    const head = (/** @type {number} */ at, /** @type {string} */ scope) =>
      make(
        "th",
        { scope, "data-group": at, class: groups[at].kind, title: groups[at].label },
        this.options.header && groups[at].kind === "class"
          ? make(
              "button",
              { type: "button", tabindex: -1, click: () => this.options.header?.(groups[at]) },
              groups[at].label,
            )
          : make("span", {}, groups[at].label),
      );
    const across = make("tr", { class: "across" }, make("td", { class: "corner" }));
    across.append(...groups.map((_, at) => head(at, "col")));
    const body = make("tbody");
    groups.forEach((_, r) => {
      const line = make("tr", {}, head(rows ? r : groups.length - 1 - r, "row"));
      const cells = groups.map((__, c) => {
        const element = make("td", { role: "gridcell", tabindex: -1, "data-row": r, "data-column": c });
        line.append(element);
        return element;
      });
      this.cells.push(cells);
      body.append(line);
    });
    if (rows) body.prepend(across);
    else body.append(across);
    const table = make("table", { role: "grid", "aria-label": this.options.label, "data-size": groups.length }, body);
    this.element.style.setProperty("--size", String(groups.length));
    this.element.classList.toggle("many", groups.length > 12);
    table.addEventListener("keydown", (event) => this.key(event));
    table.addEventListener("click", (event) => this.act(event, "open"));
    table.addEventListener("focusin", (event) => this.act(event, "tell"));
    table.addEventListener("focusout", () => hideTip());
    table.addEventListener("mouseover", (event) => this.act(event, "tell"));
    table.addEventListener("mouseleave", () => hideTip());
    const [below, beside] = rows ? ["predicted", "true class"] : ["true class", "predicted"];
    this.element.replaceChildren(
      make("div", { class: "axis side-axis", "aria-hidden": "true" }, beside),
      table,
      make("div", { class: `axis ${rows ? "top-axis" : "bottom-axis"}`, "aria-hidden": "true" }, below),
    );
    this.element.classList.toggle("in-rows", rows);
    const last = groups.length - 1;
    this.focused = [Math.min(this.focused[0], last), Math.min(this.focused[1], last)];
    if (state.cell) {
      for (let r = 0; r <= last; r++)
        for (let c = 0; c <= last; c++) {
          const { truth, pred } = cellAt(groups.length, state.t, r, c);
          if (groups[truth].key === state.cell[0] && groups[pred].key === state.cell[1]) this.focused = [r, c];
        }
    }
    const element = this.cells[this.focused[0]][this.focused[1]];
    element.tabIndex = 0;
    if (hadFocus) element.focus();
  }

  /** @param {Event} event @param {"open" | "tell"} deed */
  act(event, deed) {
    const element = event.target instanceof Element ? event.target.closest("td[role=gridcell]") : null;
    if (!(element instanceof HTMLTableCellElement) || !this.grid) return hideTip();
    const [row, column] = [Number(element.dataset.row), Number(element.dataset.column)];
    const { truth, pred } = cellAt(this.grid.groups.length, this.isInRows() ? "rows" : "article", row, column);
    if (deed === "tell") return showTip(element, tipOf(this.model, this.grid, truth, pred));
    this.move(row, column);
    this.options.open(truth, pred);
  }

  isInRows() {
    return this.element.classList.contains("in-rows");
  }

  /**
   * @param {number} row
   * @param {number} column
   */
  move(row, column) {
    const last = this.cells.length - 1;
    this.cells[this.focused[0]][this.focused[1]].tabIndex = -1;
    this.focused = [Math.min(Math.max(row, 0), last), Math.min(Math.max(column, 0), last)];
    const element = this.cells[this.focused[0]][this.focused[1]];
    element.tabIndex = 0;
    element.focus({ preventScroll: false });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const [row, column] = this.focused;
    const last = this.cells.length - 1;
    /** @type {Record<string, [number, number]>} */
    const moves = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      Home: [event.ctrlKey ? 0 : row, 0],
      End: [event.ctrlKey ? last : row, last],
      PageUp: [0, column],
      PageDown: [last, column],
    };
    if (event.altKey || event.metaKey || !this.grid) return;
    if (moves[event.key]) this.move(...moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.act(event, "open");
    else if (event.key === "c" && !event.ctrlKey) {
      const { truth, pred } = cellAt(last + 1, this.isInRows() ? "rows" : "article", row, column);
      copyText(cellWords(this.model, this.grid, truth, pred));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

// What a pointer or the focus tells

/**
 * @param {Model} model
 * @param {Grid} grid
 * @param {number} truth
 * @param {number} pred
 */
function tipOf(model, grid, truth, pred) {
  const cell = grid.cell(truth, pred);
  const [from, to] = [grid.groups[truth], grid.groups[pred]];
  const size = model.sizeOf(from.classes);
  return make(
    "div",
    {},
    make("strong", {}, truth === pred ? `${from.label}, right` : `${from.label} → ${to.label}`),
    make("p", {}, size ? valueWords(model, grid, cell, truth) : "no test images of this class"),
    size ? seedDots(model, grid, truth, pred) : null,
    make("p", { class: "soft" }, `of ${size.toLocaleString("en-US")} test images, ${seedWords(model, grid)}`),
  );
}

/**
 * @param {Model} model
 * @param {Grid} grid
 */
function seedWords(model, grid) {
  const { conditions } = model.values;
  const shared = grid.other >= 0 ? model.shared(grid.condition, grid.other) : conditions[grid.condition].seeds;
  return shared.length === 1 ? "1 seed" : `mean of ${shared.length} seeds`;
}

/**
 * The value of each seed as a dot on a line, with the interval behind.
 * @param {Model} model
 * @param {Grid} grid
 * @param {number} truth
 * @param {number} pred
 */
function seedDots(model, grid, truth, pred) {
  const [trues, preds] = [grid.groups[truth].classes, grid.groups[pred].classes];
  const relative = grid.other >= 0;
  const seeds = relative ? model.shared(grid.condition, grid.other) : model.values.conditions[grid.condition].seeds;
  const per = grid.units === "rates" ? model.sizeOf(trues) / 100 : 1;
  const values = seeds.map((seed) => {
    const now = model.countOf(model.run(grid.condition, seed), trues, preds);
    return (now - (relative ? model.countOf(model.run(grid.other, seed), trues, preds) : 0)) / per;
  });
  const cell = grid.cell(truth, pred);
  const hasEnds = cell.estimate && Number.isFinite(cell.estimate.low);
  const ends = cell.estimate && hasEnds ? [cell.estimate.low / per, cell.estimate.high / per] : [];
  const all = [...values, ...ends, ...(relative ? [0] : [])];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const at = (/** @type {number} */ value) => 8 + (high > low ? (204 * (value - low)) / (high - low) : 102);
  const words = values.map((value) => number(value, grid.units === "rates" ? 1 : 0, relative)).join(", ");
  return draw(
    "svg",
    { class: "dots", viewBox: "0 0 220 26", role: "img", "aria-label": `single seeds: ${words}` },
    draw("line", { class: "rule", x1: 4, x2: 216, y1: 13, y2: 13 }),
    relative && draw("line", { class: "zero", x1: at(0), x2: at(0), y1: 3, y2: 23 }),
    ends.length ? draw("line", { class: "ends", x1: at(ends[0]), x2: at(ends[1]), y1: 13, y2: 13 }) : null,
    values.map((value) => draw("circle", { class: "dot", cx: at(value), cy: 13, r: 3.5 })),
    draw("line", { class: "mean", x1: at(cell.value), x2: at(cell.value), y1: 6, y2: 20 }),
  );
}

/**
 * @param {Element} beside
 * @param {Node} content
 */
function showTip(beside, content) {
  const tip = document.getElementById("tip");
  if (!tip) return;
  tip.replaceChildren(content);
  tip.hidden = false;
  const [place, own] = [beside.getBoundingClientRect(), tip.getBoundingClientRect()];
  const left = place.right + 10 + own.width < innerWidth ? place.right + 10 : place.left - own.width - 10;
  const top = Math.min(Math.max(8, place.top + place.height / 2 - own.height / 2), innerHeight - own.height - 8);
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - own.width - 8))}px`;
  // Where there is no room beside the cell, the tip stands above it.
  tip.style.top = `${left < 8 ? Math.max(8, place.top - own.height - 8) : top}px`;
}

function hideTip() {
  const tip = document.getElementById("tip");
  if (tip) tip.hidden = true;
}

// The visible table and picture, to take away

/** @param {Grid} grid @param {Model} model */
function gridCsv(model, grid) {
  const unit = grid.units === "rates" ? "percent" : "images";
  const head = ["true", "predicted", unit, "low", "high", "adjusted_p", "judged", "marked", "test_images"];
  const rows = grid.groups.flatMap((truth, i) =>
    grid.groups.map((pred, j) => {
      const { value, estimate } = grid.cell(i, j);
      const size = model.sizeOf(truth.classes);
      const per = grid.units === "rates" ? size / 100 : 1;
      const known = (/** @type {number | undefined} */ each) => (Number.isFinite(each) ? String(each) : "");
      return [
        truth.label,
        pred.label,
        known(value),
        known(estimate ? estimate.low / per : undefined),
        known(estimate ? estimate.high / per : undefined),
        known(estimate?.p),
        estimate ? String(estimate.judged) : "",
        estimate ? String(estimate.marked) : "",
        size,
      ];
    }),
  );
  return csvOf([head, ...rows]);
}

/**
 * The picture as a file of its own.
 * @param {Model} model
 * @param {Grid} grid
 * @param {"article" | "rows"} layout
 * @param {string} title
 */
function gridSvg(model, grid, layout, title) {
  const [side, margin, size] = [46, 120, grid.groups.length];
  const [top, width] = [layout === "rows" ? margin : 50, margin + side * size + 20];
  const height = top + side * size + (layout === "rows" ? 20 : margin);
  const ground = shade(DIVERGING[scheme()], 0.5);
  const ink = scheme() === "dark" ? "#e8e8e6" : "#1a1a1a";
  const text = (/** @type {Attributes} */ where, /** @type {string} */ words, fill = ink) =>
    draw("text", { fill, "font-family": "system-ui, sans-serif", "font-size": 12, ...where }, words);
  const picture = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
  picture.append(draw("title", {}, title), draw("rect", { width, height, fill: ground.fill }));
  picture.append(text({ x: 16, y: 24, "font-size": 15, "font-weight": 600 }, title));
  for (let at = 0; at < size; at++) {
    const y = top + side * (layout === "rows" ? at : size - 1 - at) + side / 2 + 4;
    picture.append(text({ x: margin - 8, y, "text-anchor": "end" }, grid.groups[at].label));
    const x = margin + side * at + side / 2;
    const down = layout === "rows" ? top - 8 : top + side * size + 12;
    const turn = `rotate(-45 ${x} ${down})`;
    const anchor = layout === "rows" ? "start" : "end";
    picture.append(text({ x, y: down, transform: turn, "text-anchor": anchor }, grid.groups[at].label));
  }
  for (let r = 0; r < size; r++)
    for (let c = 0; c < size; c++) {
      const { truth, pred } = cellAt(size, layout, r, c);
      const cell = grid.cell(truth, pred);
      const colour = cellColour(model, grid, truth, pred, cell);
      const [x, y] = [margin + side * c, top + side * r];
      picture.append(draw("rect", { x, y, width: side, height: side, fill: colour.fill, stroke: ground.fill }));
      if (cell.estimate?.marked && cell.shown)
        picture.append(
          draw("rect", { x: x + 2, y: y + 2, width: side - 4, height: side - 4, fill: "none", stroke: colour.ink }),
        );
      if (cell.shown)
        picture.append(
          text(
            { x: x + side / 2, y: y + side / 2 + 4, "text-anchor": "middle" },
            cellText(grid, cell.value),
            colour.ink,
          ),
        );
    }
  return new XMLSerializer().serializeToString(picture);
}

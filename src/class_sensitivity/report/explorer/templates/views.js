// @ts-check
// The views of matrices: one, every cell over the dose, two side by side.

// The matrix

/** @type {{matrix: MatrixTable | null, side: MatrixTable[], dose: MatrixTable | null}} */
const tables = { matrix: null, side: [], dose: null };

/**
 * @param {Model} model
 * @param {State} state
 */
function matrixTitle(model, state) {
  const { conditions } = model.values;
  if (state.m === "absolute") return conditions[state.c].label;
  return `${conditions[state.c].label} minus ${conditions[state.b].label}`;
}

/** @param {Group[]} groups @returns {(truth: number, pred: number) => void} */
function cellOpener(groups) {
  return (truth, pred) => {
    const cell = `${groups[truth].key}.${groups[pred].key}`;
    const known = new URLSearchParams(location.hash.slice(1)).get("cell");
    hideTip();
    if (known === cell) return focusPanel();
    go({ cell, tab: null });
  };
}

function focusPanel() {
  const title = document.getElementById("cell-title");
  title?.focus({ preventScroll: true });
  if (title && innerWidth < 1000) title.scrollIntoView({ block: "start" });
}

/**
 * @param {Model} model
 * @param {State} state
 * @param {HTMLElement} controls
 * @param {HTMLElement} figure
 * @returns {Grid}
 */
function matrixView(model, state, controls, figure) {
  const { conditions } = model.values;
  const groups = groupsOf(model, state);
  const other = state.m === "absolute" ? -1 : state.b;
  const grid = gridOf(model, {
    groups,
    condition: state.c,
    other,
    units: state.u,
    significant: state.m === "significant",
  });
  const cannot = state.c === state.b;
  const title = matrixTitle(model, state);
  controls.replaceChildren(
    make(
      "div",
      { class: "row" },
      make(
        "label",
        { class: "wide-choice" },
        "Condition ",
        conditionChoice(model, state.c, (c) => go({ c, s: null }), "Condition"),
      ),
      doseSlider(model, state),
    ),
    make(
      "div",
      { class: "row" },
      segments(
        "What is shown",
        [
          ["absolute", "Absolute"],
          ["relative", "Change", cannot],
          ["significant", "Significant only", cannot],
        ],
        state.m,
        (m) => go({ m }),
      ),
      layoutControls(model, state),
    ),
  );
  if (!tables.matrix)
    tables.matrix = new MatrixTable(model, {
      label: "Confusion matrix",
      open: (truth, pred) => tables.matrix?.grid && cellOpener(tables.matrix.grid.groups)(truth, pred),
      header: (group) => go({ v: "class", k: group.classes[0], cell: null, tab: null, hl: null }),
    });
  tables.matrix.update(grid, state);
  const { accuracy, fall, train_size, wrong_labels } = conditions[state.c];
  figure.replaceChildren(
    make("h2", { id: "figure-title" }, title),
    make(
      "p",
      { class: "soft" },
      `Accuracy ${accuracy}${fall ? `, ${fall} lost` : ""}; ${(train_size ?? 0).toLocaleString("en-US")} training examples${wrong_labels ? `, ${percent(wrong_labels)} of the labels wrong` : ""}; ${seedWords(model, grid)}.`,
    ),
    mergedWords(model, state) ?? "",
    tables.matrix.element,
    legend(grid),
    takeAway(model, grid, state, title),
  );
  if (grid.other >= 0 && !grid.estimated)
    figure.append(make("p", { class: "soft" }, estimateApology(grid, groups[0], groups[0])));
  return grid;
}

// Every cell over the dose

/**
 * @param {Model} model
 * @param {State} state
 * @param {HTMLElement} controls
 * @param {HTMLElement} figure
 * @returns {Grid}
 */
function doseView(model, state, controls, figure) {
  const { series, conditions } = model.values;
  const chosen = series.find((each) => each.name === state.s) ?? seriesOf(model, state);
  const groups = groupsOf(model, state);
  const last = chosen?.conditions.at(-1) ?? state.c;
  const strongest = chosen?.conditions.includes(state.c) && state.c !== model.baseline ? state.c : last;
  const comparable =
    model.baseline >= 0 && model.shared(strongest, model.baseline).length > 0 && strongest !== model.baseline;
  const grid = gridOf(model, { groups, condition: strongest, other: comparable ? model.baseline : -1, units: state.u });
  controls.replaceChildren(
    make(
      "div",
      { class: "row" },
      series.length > 0 &&
        make(
          "label",
          {},
          "Stress ",
          choice(
            series.map((each) => [each.name, each.label]),
            chosen?.name ?? "",
            (s) => go({ s, c: conditions[series.find((each) => each.name === s)?.conditions.at(-1) ?? 0].name }),
            "Series of levels",
          ),
        ),
      layoutControls(model, state),
    ),
  );
  if (!chosen || !comparable) {
    figure.replaceChildren(
      make("h2", {}, "Every cell over the dose"),
      make("p", { class: "note" }, "There is no series of levels with a baseline, so there is no curve."),
    );
    return grid;
  }
  tables.dose ??= new MatrixTable(model, {
    label: "Every cell over the dose",
    open: (truth, pred) => tables.dose?.grid && cellOpener(tables.dose.grid.groups)(truth, pred),
    header: (group) => go({ v: "class", k: group.classes[0], cell: null, tab: null, hl: null }),
    content: (truth, pred) => {
      const now = /** @type {Grid} */ (tables.dose?.grid);
      const which = parseState(model, location.hash);
      const shown = model.values.series.find((each) => each.name === which.s) ?? seriesOf(model, which);
      if (!shown) return sparkline([], 1);
      const [trues, preds] = [now.groups[truth].classes, now.groups[pred].classes];
      const limits = curveLimits(model, shown, now);
      return sparkline(cellCurve(model, shown, trues, preds, now.units), truth === pred ? limits.right : limits.wrong);
    },
  });
  tables.dose.element.classList.add("sparks");
  tables.dose.update(grid, state);
  const unit = state.u === "rates" ? "points" : "test images";
  const limits = curveLimits(model, chosen, grid);
  const told = (/** @type {number} */ limit) => `±${number(limit, limit < 10 ? 1 : 0)}`;
  figure.replaceChildren(
    make("h2", { id: "figure-title" }, `Every cell over the dose: ${chosen.label}`),
    make(
      "p",
      { class: "soft" },
      `Change from the baseline at ${chosen.conditions.map((c) => percent(conditions[c].level)).join(", ")}; bands are ${model.values.coverage} % intervals. Mistakes share a scale of ${told(limits.wrong)} ${unit}, the diagonal one of ${told(limits.right)}. Red and blue curves differ from 0 at some level.`,
    ),
    tables.dose.element,
  );
  if (state.cell) {
    const truth = groups.find((group) => group.key === state.cell?.[0]);
    const pred = groups.find((group) => group.key === state.cell?.[1]);
    if (truth && pred)
      figure.append(
        doseChart(cellCurve(model, chosen, truth.classes, pred.classes, state.u), {
          title: truth === pred ? `${truth.label}, right` : `${truth.label} taken for ${pred.label}`,
          unit: `${unit} more or fewer than at the baseline`,
          zero: true,
          signed: true,
        }),
      );
  }
  return grid;
}

/**
 * The ends of the scales of small curves, of mistakes and of what is right: the largest change at any level.
 * @param {Model} model
 * @param {Series} series
 * @param {Grid} grid
 */
function curveLimits(model, series, grid) {
  const limits = { right: 0, wrong: 0 };
  const [k, { groups }] = [model.numClasses, grid];
  for (const c of series.conditions) {
    const seeds = model.shared(c, model.baseline);
    if (!seeds.length) continue;
    const [now, then] = [model.mean(c, seeds), model.mean(model.baseline, seeds)];
    for (const truth of groups) {
      const size = grid.units === "rates" ? model.sizeOf(truth.classes) / 100 : 1;
      if (truth.kind === "other" || !size) continue;
      for (const pred of groups) {
        let sum = 0;
        for (const i of truth.classes) for (const j of pred.classes) sum += now[i * k + j] - then[i * k + j];
        const which = truth === pred ? "right" : "wrong";
        limits[which] = Math.max(limits[which], Math.abs(sum) / size);
      }
    }
  }
  return limits;
}

// Two conditions side by side

/**
 * The two conditions of the view; where none is asked for, a noise and the removal of what it touches.
 * @param {Model} model
 * @param {State} state
 * @returns {[number, number]}
 */
function twoConditions(model, state) {
  const { comparisons, conditions } = model.values;
  if (state.b !== model.baseline && state.b !== state.c) return [state.c, state.b];
  const own = comparisons.find((each) => each.kind === "misled" && each.condition === state.c);
  const found = own ?? comparisons.find((each) => each.kind !== "baseline" && each.condition === state.c);
  const any = found ?? comparisons.findLast((each) => each.kind === "misled");
  if (any && (found || state.c === model.baseline)) return [any.condition, any.other];
  const other = conditions.findIndex(
    (_, c) => c !== state.c && c !== model.baseline && model.shared(c, state.c).length > 0,
  );
  return [state.c, other >= 0 ? other : state.c];
}

/**
 * @param {Model} model
 * @param {State} state
 * @param {HTMLElement} controls
 * @param {HTMLElement} figure
 * @returns {Grid}
 */
function sideView(model, state, controls, figure) {
  const { conditions, comparisons, equal } = model.values;
  const [first, second] = twoConditions(model, state);
  const groups = groupsOf(model, state);
  const units = state.u;
  const change = gridOf(model, { groups, condition: first, other: second, units });
  const pick = (/** @type {number} */ c, /** @type {number} */ b) =>
    go({ c: conditions[c].name, b: conditions[b].name, cell: null, tab: null });
  const damage = equal.find((each) => each.noise === first);
  const misled = comparisons.find((each) => each.kind === "misled" && each.condition === first);
  const together = (/** @type {number} */ other) => (/** @type {number} */ c) =>
    c !== other && model.shared(c, other).length > 0;
  controls.replaceChildren(
    make(
      "div",
      { class: "row" },
      make(
        "label",
        {},
        "Left ",
        conditionChoice(
          model,
          first,
          (c) =>
            pick(
              conditions.findIndex((each) => each.name === c),
              second,
            ),
          "Left condition",
          together(second),
        ),
      ),
      make(
        "label",
        {},
        "Right ",
        conditionChoice(
          model,
          second,
          (b) =>
            pick(
              first,
              conditions.findIndex((each) => each.name === b),
            ),
          "Right condition",
          together(first),
        ),
      ),
      make("button", { type: "button", id: "swap", click: () => pick(second, first) }, "⇄ Swap"),
      make(
        "button",
        {
          type: "button",
          id: "equal",
          disabled: !damage,
          title: "The reduction that costs as much accuracy as the noise on the left",
          click: () => damage && pick(first, damage.reduction),
        },
        "At equal damage",
      ),
      make(
        "button",
        {
          type: "button",
          id: "misled",
          disabled: !misled,
          title: "The removal of exactly the examples that the noise on the left touches",
          click: () => misled && pick(first, misled.other),
        },
        "Misled: minus its matched removal",
      ),
    ),
    make("div", { class: "row" }, layoutControls(model, state)),
  );
  const relative = (/** @type {number} */ c) =>
    gridOf(model, {
      groups,
      condition: c,
      other:
        model.baseline >= 0 && c !== model.baseline && model.shared(c, model.baseline).length ? model.baseline : -1,
      units,
    });
  const grids = [relative(first), relative(second), change];
  while (tables.side.length < 3) {
    const place = tables.side.length;
    tables.side.push(
      new MatrixTable(model, {
        label: ["Left condition", "Right condition", "Left minus right"][place],
        open: (truth, pred) => {
          const grid = tables.side[place].grid;
          if (grid) cellOpener(grid.groups)(truth, pred);
        },
        compact: true,
      }),
    );
  }
  const words =
    first === second
      ? "There is no other condition on the same seeds to compare with."
      : misled && misled.other === second
        ? "What the wrong labels do beyond the loss of these examples."
        : damage && damage.reduction === second
          ? `${damage.text}.`
          : "";
  const panel = (/** @type {number} */ at, /** @type {string} */ title, /** @type {string} */ text) => {
    tables.side[at].update(grids[at], state);
    return make(
      "section",
      { class: at === 2 ? "third" : "" },
      make("h2", {}, title),
      make("p", { class: "soft" }, text),
      tables.side[at].element,
    );
  };
  const told = (/** @type {number} */ c) =>
    `${c === model.baseline || grids[c === first ? 0 : 1].other < 0 ? "Counts" : "Minus baseline"}; accuracy ${conditions[c].accuracy}${conditions[c].fall ? `, ${conditions[c].fall} lost` : ""}`;
  figure.replaceChildren(
    mergedWords(model, { ...state, c: first }) ?? "",
    make(
      "div",
      { class: "three" },
      panel(0, conditions[first].label, told(first)),
      panel(1, conditions[second].label, told(second)),
      panel(
        2,
        "Left minus right",
        words ||
          (change.estimated
            ? "Paired by seed."
            : "Counts and differences alone: the analysis has no interval for this pair."),
      ),
    ),
    legend(change),
    takeAway(model, change, state, `${conditions[first].label} minus ${conditions[second].label}`),
  );
  return change;
}

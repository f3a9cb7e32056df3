// @ts-check
// What a reader can turn: conditions, dose, units, order, merged classes; and what can be taken away.

/**
 * @param {[string, string][]} options  Value and words.
 * @param {string} chosen
 * @param {(value: string) => void} change
 * @param {string} label
 */
function choice(options, chosen, change, label) {
  const select = make("select", {
    "aria-label": label,
    change: (/** @type {Event} */ event) => change(/** @type {HTMLSelectElement} */ (event.target).value),
  });
  for (const [value, words] of options) select.append(make("option", { value, selected: value === chosen }, words));
  return select;
}

/**
 * Few choices of which all are seen.
 * @param {string} label
 * @param {[string, string, boolean?][]} options  Value, words, whether it cannot be chosen.
 * @param {string} chosen
 * @param {(value: string) => void} change
 */
function segments(label, options, chosen, change) {
  return make(
    "div",
    { class: "segments", role: "group", "aria-label": label },
    options.map(([value, words, disabled]) =>
      make(
        "button",
        {
          type: "button",
          "aria-pressed": String(value === chosen),
          "data-value": value,
          disabled: disabled === true,
          click: () => change(value),
        },
        words,
      ),
    ),
  );
}

/**
 * A choice among all conditions, by their series.
 * @param {Model} model
 * @param {number} chosen
 * @param {(name: string) => void} change
 * @param {string} label
 * @param {(condition: number) => boolean} [allowed]
 */
function conditionChoice(model, chosen, change, label, allowed = () => true) {
  const { conditions, series } = model.values;
  const select = make("select", {
    "aria-label": label,
    change: (/** @type {Event} */ event) => change(/** @type {HTMLSelectElement} */ (event.target).value),
  });
  const option = (/** @type {number} */ c) =>
    make("option", { value: conditions[c].name, selected: c === chosen, disabled: !allowed(c) }, conditions[c].label);
  if (model.baseline >= 0) select.append(option(model.baseline));
  for (const each of series)
    select.append(
      make("optgroup", { label: each.label }, each.conditions.filter((c) => c !== model.baseline).map(option)),
    );
  const listed = new Set([model.baseline, ...series.flatMap((each) => each.conditions)]);
  const rest = conditions.map((_, c) => c).filter((c) => !listed.has(c));
  if (rest.length) select.append(make("optgroup", { label: "both at once" }, rest.map(option)));
  return select;
}

/**
 * The series whose levels are shown: that which was asked for, or that of the condition.
 * @param {Model} model
 * @param {State} state
 */
function seriesOf(model, state) {
  const { series } = model.values;
  const asked = series.find((each) => each.name === state.s);
  const own = series.find((each) => each.conditions.includes(state.c));
  // The baseline belongs to every series.
  const named = state.c === model.baseline ? (asked ?? own) : (own ?? asked);
  return named ?? series[0] ?? null;
}

/**
 * The dose as a slider that plays.
 * @param {Model} model
 * @param {State} state
 */
function doseSlider(model, state) {
  const series = seriesOf(model, state);
  if (!series?.conditions.includes(state.c)) return null;
  const { conditions } = model.values;
  const at = series.conditions.indexOf(state.c);
  const words = `${percent(conditions[state.c].level)} ${series.label}`;
  const input = make("input", {
    type: "range",
    id: "dose",
    min: 0,
    max: series.conditions.length - 1,
    step: 1,
    value: at,
    "aria-label": `Dose of ${series.label}`,
    "aria-valuetext": words,
    input: (/** @type {Event} */ event) => {
      const next = series.conditions[Number(/** @type {HTMLInputElement} */ (event.target).value)];
      go({ c: conditions[next].name, s: series.name }, { replace: true });
    },
  });
  const marks = series.conditions.map((c) =>
    make("span", { class: c === state.c ? "now" : "" }, percent(conditions[c].level)),
  );
  return make(
    "div",
    { class: "dose-control" },
    make(
      "button",
      { type: "button", id: "play", "aria-pressed": String(player.timer > 0), click: () => togglePlay(model) },
      player.timer ? "❚❚ Stop" : "▶ Play",
    ),
    make("div", { class: "slider" }, input, make("div", { class: "marks", "aria-hidden": "true" }, marks)),
  );
}

const player = { timer: 0 };

function stopPlaying() {
  clearInterval(player.timer);
  player.timer = 0;
}

/** Plays the levels one after the other. @param {Model} model */
function togglePlay(model) {
  if (player.timer) stopPlaying();
  else {
    const step = () => {
      const state = parseState(model, location.hash);
      const series = seriesOf(model, state);
      if (!series) return;
      const next = (series.conditions.indexOf(state.c) + 1) % series.conditions.length;
      go({ c: model.values.conditions[series.conditions[next]].name, s: series.name }, { replace: true });
    };
    player.timer = window.setInterval(step, 1100);
    step();
  }
  dispatchEvent(new Event("view"));
}

/**
 * @param {Model} model
 * @param {State} state
 */
function orderChoice(model, state) {
  const { orders, curves, classes } = model.values;
  const alphabetical = orders.name.every((c, at) => c === at);
  /** @type {[string, string][]} */
  const options = [["given", alphabetical ? "by name" : "as given"]];
  if (!alphabetical) options.push(["name", "by name"]);
  options.push(["accuracy", "least accurate first"]);
  for (const curve of curves) options.push([curve.series, `most sensitive first: ${curve.label}`]);
  if (classes.length > 2) options.push(["lookalike", "look-alikes together"]);
  return make(
    "label",
    {},
    "Order ",
    choice(options, state.o, (o) => go({ o }), "Order of the classes"),
  );
}

/** @param {State} state */
function unitChoice(state) {
  return segments(
    "Units",
    [
      ["counts", "Images"],
      ["rates", "% of class"],
    ],
    state.u,
    (u) => go({ u }),
  );
}

/**
 * Which classes count as one.
 * @param {Model} model
 * @param {State} state
 */
function mergeControl(model, state) {
  const { classes } = model.values;
  const word = (/** @type {number[][]} */ groups) => groups.map((group) => group.join(".")).join("_") || null;
  const chips = state.merge.map((group, at) =>
    make(
      "button",
      {
        type: "button",
        class: "chip",
        title: "Take them apart again",
        click: () => go({ merge: word(state.merge.filter((_, other) => other !== at)), cell: null, tab: null }),
      },
      `${group.map((c) => classes[c]).join(" + ")} ×`,
    ),
  );
  const free = classes.map((_, c) => c).filter((c) => !state.merge.flat().includes(c));
  const boxes = free.map((c) =>
    make("label", {}, make("input", { type: "checkbox", value: c, name: "merged" }), classes[c]),
  );
  const form = make(
    "form",
    {
      class: "popover",
      submit: (/** @type {SubmitEvent} */ event) => {
        event.preventDefault();
        const chosen = [...form.querySelectorAll("input:checked")].map((each) =>
          Number(/** @type {HTMLInputElement} */ (each).value),
        );
        if (chosen.length < 2) return announce("Choose two classes or more.");
        go({ merge: word([...state.merge, chosen]), cell: null, tab: null });
      },
    },
    make("fieldset", {}, make("legend", {}, "Classes that count as one"), make("div", { class: "boxes" }, boxes)),
    make("button", { type: "submit", class: "primary" }, "Merge"),
  );
  return make(
    "div",
    { class: "merge" },
    make("details", { class: "drop" }, make("summary", {}, "Merge classes"), form),
    chips,
  );
}

/**
 * What the accuracy is when merged classes count as one.
 * @param {Model} model
 * @param {State} state
 */
function mergedWords(model, state) {
  if (!state.merge.length) return null;
  const merged = new Set(state.merge.flat());
  const groups = [...state.merge, ...model.values.classes.map((_, c) => [c]).filter(([c]) => !merged.has(c))];
  const alone = model.values.classes.map((_, c) => [c]);
  const shown = [...new Set([model.baseline >= 0 ? model.baseline : state.c, state.c])];
  return make(
    "p",
    { class: "note", id: "merged" },
    "Merged: ",
    shown.flatMap((c, at) => [
      at ? "; " : "",
      `${model.values.conditions[c].label}: accuracy ${number(model.accuracy(c, groups), 2)} % instead of ${number(model.accuracy(c, alone), 2)} %`,
    ]),
    ". Sums of cells have no intervals or marks.",
  );
}

/**
 * @param {Model} model
 * @param {Grid} grid
 * @param {State} state
 * @param {string} title
 */
function takeAway(model, grid, state, title) {
  const name = `${model.values.recipe}-${model.values.conditions[grid.condition].name}`;
  return make(
    "div",
    { class: "take" },
    make(
      "button",
      { type: "button", id: "csv", click: () => download(`${name}.csv`, "text/csv", gridCsv(model, grid)) },
      "CSV",
    ),
    make(
      "button",
      {
        type: "button",
        id: "svg",
        click: () => download(`${name}.svg`, "image/svg+xml", gridSvg(model, grid, state.t, title)),
      },
      "SVG",
    ),
    make("button", { type: "button", click: () => copyText(gridCsv(model, grid)) }, "Copy table"),
    make("button", { type: "button", click: () => copyText(location.href) }, "Copy link"),
  );
}

/**
 * The colour scale.
 * @param {Grid} grid
 */
function legend(grid) {
  const unit = grid.units === "rates" ? (grid.other >= 0 ? "points" : "%") : "images";
  const stops = (/** @type {string[]} */ colours) => {
    const bar = make("i", { class: "bar" });
    bar.style.background = `linear-gradient(to right, ${colours.join(", ")})`;
    return bar;
  };
  const digits = grid.limit < 10 ? 1 : 0;
  if (grid.other >= 0)
    return make(
      "p",
      { class: "legend" },
      make("span", {}, `−${number(grid.limit, digits)} ${unit}, fewer`),
      stops(DIVERGING[scheme()]),
      make("span", {}, `+${number(grid.limit, digits)} ${unit}, more`),
      make("span", { class: "key" }, make("i", { class: "frame" }), "chance hardly explains it"),
      make("span", { class: "key" }, make("i", { class: "grey" }, "3"), "too few images to be judged"),
    );
  return make(
    "p",
    { class: "legend" },
    make("span", {}, "mistakes: 0"),
    stops(MISTAKES[scheme()]),
    make("span", {}, `${number(grid.limit, digits)} ${unit}`),
    make("span", { class: "key" }, stops(RIGHT[scheme()]), "right: none to all of the class"),
  );
}

/** @param {Model} model @param {State} state */
function mostChoice(model, state) {
  /** @type {[string, string][]} */
  const options = [10, 20, 30, 60]
    .filter((n) => n < model.numClasses)
    .map((n) => [String(n), `the ${n} most confused`]);
  if (model.numClasses <= 60) options.push(["60", "all"]);
  return make(
    "label",
    {},
    "Classes ",
    choice(options, String(state.n), (n) => go({ n }), "How many classes"),
  );
}

/**
 * How any matrix is laid out: units, axes, order, merged classes, and how many classes.
 * @param {Model} model
 * @param {State} state
 */
function layoutControls(model, state) {
  return [
    unitChoice(state),
    segments(
      "Axes",
      [
        ["article", "Truth below"],
        ["rows", "Truth in rows"],
      ],
      state.t,
      (t) => go({ t }),
    ),
    orderChoice(model, state),
    mergeControl(model, state),
    model.numClasses > MANY ? mostChoice(model, state) : null,
  ];
}

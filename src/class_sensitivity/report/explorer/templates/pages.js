// @ts-check
// The pages of a class and of a pair.

// One class

/**
 * @param {Model} model
 * @param {number} c
 * @param {Series} series
 */
function recallCurve(model, c, series) {
  const { conditions, sizes } = model.values;
  return series.conditions.map((at) => {
    const { recall, level, label, seeds } = conditions[at];
    return {
      x: level,
      value: recall.value[c] ?? Number.NaN,
      low: recall.low[c] ?? Number.NaN,
      high: recall.high[c] ?? Number.NaN,
      seeds: seeds.map((seed) => (100 * model.countOf(model.run(at, seed), [c], [c])) / sizes[c]),
      label,
    };
  });
}

/**
 * @param {Model} model
 * @param {State} state
 * @param {HTMLElement} controls
 * @param {HTMLElement} figure
 */
function classView(model, state, controls, figure) {
  const { classes, series, curves, exchange, conditions, train, sizes } = model.values;
  const c = state.k[0] ?? model.values.orders.accuracy[0];
  const name = classes[c];
  controls.replaceChildren(
    make(
      "div",
      { class: "row" },
      make(
        "label",
        {},
        "Class ",
        choice(
          classes.map((each, at) => [String(at), each]),
          String(c),
          (k) => go({ k }),
          "Class",
        ),
      ),
      make(
        "label",
        { class: "wide-choice" },
        "Look-alikes at ",
        conditionChoice(model, state.c, (each) => go({ c: each }), "Condition"),
      ),
    ),
  );
  const reference = conditions[Math.max(model.baseline, 0)];
  const rank = model.values.orders.accuracy.indexOf(c) + 1;
  const recall = recallWords(reference, c);
  const rates = exchange.filter((each) => each.classes[c]);
  figure.replaceChildren(
    make("h2", { id: "figure-title" }, name),
    make(
      "p",
      { class: "lead" },
      sizes[c]
        ? `${recall} of ${sizes[c].toLocaleString("en-US")} test images are right at ${reference.label}: number ${rank} of ${classes.length} from the least accurate.`
        : "No test images of this class.",
    ),
    make(
      "div",
      { class: "charts" },
      series.map((each) => {
        const curve = curves.find((other) => other.series === each.name);
        return make(
          "section",
          {},
          doseChart(recallCurve(model, c, each), {
            title: `Recall under ${each.label}`,
            unit: "%",
            at: each.conditions.indexOf(state.c),
          }),
          curve &&
            make(
              "div",
              { class: "sensitivity" },
              make(
                "p",
                {},
                curve.loss[c]
                  ? `Loses ${curve.loss[c]} points per 10 points of stress: number ${curve.rank[c]} of ${classes.length} in sensitivity.`
                  : "",
                curve.knee[c] && curve.knee[c] !== "no knee" ? ` Bends at ${curve.knee[c]}.` : "",
              ),
              curve.ranks && curve.loss[c] && classes.length <= 30
                ? make(
                    "div",
                    {},
                    make("p", { class: "soft" }, "How probable each rank is, in percent (1: falls most)"),
                    rankBars(curve.ranks[c], `Rank of ${name}`),
                  )
                : null,
            ),
        );
      }),
    ),
    make("section", {}, make("h3", {}, `Look-alikes of ${name}`), lookalikeLists(model, state, c)),
    rates.length
      ? make(
          "section",
          {},
          make("h3", {}, "Exchange rate"),
          exchangeList(model, c, false),
          rates.some((each) => conditions[each.condition].reduced) &&
            make("details", {}, make("summary", {}, "Of smaller sets"), exchangeList(model, c, true)),
        )
      : "",
    train?.of_class[c]
      ? make(
          "section",
          {},
          make("h3", {}, "Training images"),
          make("p", { class: "soft" }, "The first of the class, as they are in the data set."),
          trainImages(model, c),
        )
      : "",
  );
}

/** @param {Model} model @param {number} c @param {boolean} reduced */
function exchangeList(model, c, reduced) {
  const { exchange, conditions } = model.values;
  const shown = exchange.filter((each) => each.classes[c] && conditions[each.condition].reduced === reduced);
  return make(
    "ul",
    {},
    shown.map((each) => make("li", {}, `${conditions[each.condition].label}: ${each.classes[c]}.`)),
  );
}

/** @param {Condition} condition @param {number} c */
function recallWords(condition, c) {
  const [value, low, high] = [condition.recall.value[c], condition.recall.low[c], condition.recall.high[c]];
  const ends = low === null ? "" : ` [${number(low)}, ${number(high ?? Number.NaN)}]`;
  return `${number(value ?? Number.NaN)}${ends} %`;
}

/** @param {Model} model @param {number} c */
function trainImages(model, c) {
  const train = /** @type {NonNullable<Values["train"]>} */ (model.values.train);
  const from = train.of_class.slice(0, c).reduce((sum, each) => sum + each, 0);
  return make(
    "div",
    { class: "gallery" },
    Array.from({ length: train.of_class[c] }, (_, at) =>
      thumbnail(train, "train-images", from + at, 56, "training image"),
    ),
  );
}

/**
 * What a class is taken for, and what is taken for it.
 * @param {Model} model
 * @param {State} state
 * @param {number} c
 */
function lookalikeLists(model, state, c) {
  const { classes, sizes, conditions, lookalikes } = model.values;
  const k = model.numClasses;
  const now = model.mean(state.c, conditions[state.c].seeds);
  const list = (/** @type {string} */ title, /** @type {boolean} */ forth) => {
    const others = classes.map((_, other) => other).filter((other) => other !== c);
    const share = (/** @type {number} */ other) => {
      const [i, j] = forth ? [c, other] : [other, c];
      return sizes[i] ? (100 * now[i * k + j]) / sizes[i] : 0;
    };
    const ranked = others.sort((a, b) => share(b) - share(a)).slice(0, 6);
    const largest = Math.max(...ranked.map(share), 1e-9);
    return make(
      "div",
      {},
      make("h4", {}, title),
      make(
        "ol",
        { class: "bars" },
        ranked.map((other) => {
          const [i, j] = forth ? [c, other] : [other, c];
          const [low, high] = [lookalikes?.low[i][j] ?? null, lookalikes?.high[i][j] ?? null];
          const atBaseline =
            state.c === model.baseline && low !== null && high !== null ? ` [${number(low)}, ${number(high)}]` : "";
          const bar = make("i");
          bar.style.width = `${(100 * share(other)) / largest}%`;
          return make(
            "li",
            {},
            make("a", { href: pageHash("pair", [c, other]) }, classes[other]),
            make("span", { class: "track" }, bar),
            make("span", { class: "figure" }, `${number(share(other))} %${atBaseline}`),
          );
        }),
      ),
    );
  };
  return make(
    "div",
    { class: "two" },
    list(`${classes[c]} is taken for`, true),
    list(`is taken for ${classes[c]}`, false),
  );
}

// One pair

/**
 * @param {Model} model
 * @param {State} state
 * @returns {[number, number]}
 */
function pairOf(model, state) {
  if (state.k.length === 2) return [state.k[0], state.k[1]];
  const k = model.numClasses;
  const now = model.mean(state.c, model.values.conditions[state.c].seeds);
  let [best, pair] = [-1, /** @type {[number, number]} */ ([0, 1])];
  for (let i = 0; i < k; i++)
    for (let j = 0; j < k; j++)
      if (i !== j && (state.k.length === 0 || state.k[0] === i) && now[i * k + j] > best)
        [best, pair] = [now[i * k + j], [i, j]];
  return pair;
}

/**
 * @param {Model} model
 * @param {State} state
 * @param {HTMLElement} controls
 * @param {HTMLElement} figure
 */
function pairView(model, state, controls, figure) {
  const { classes, conditions, lookalikes } = model.values;
  const [a, b] = pairOf(model, state);
  const { seeds, label } = conditions[state.c];
  const options = /** @type {[string, string][]} */ (classes.map((each, at) => [String(at), each]));
  const pick = (/** @type {number} */ one, /** @type {number} */ other) =>
    one !== other && go({ k: `${one}.${other}` });
  controls.replaceChildren(
    make(
      "div",
      { class: "row" },
      make(
        "label",
        {},
        "Pair ",
        choice(options, String(a), (one) => pick(Number(one), b), "First class"),
        " and ",
        choice(options, String(b), (other) => pick(a, Number(other)), "Second class"),
      ),
      make(
        "label",
        { class: "wide-choice" },
        "Condition ",
        conditionChoice(model, state.c, (c) => go({ c, s: null }), "Condition"),
      ),
      doseSlider(model, state),
    ),
  );
  const test = model.direction(state.c, a, b);
  const series = seriesOf(model, state);
  const ends = Number.isFinite(test.low) ? ` [${number(test.low, 1, true)}, ${number(test.high, 1, true)}]` : "";
  const judged = Number.isFinite(test.p) ? `, adjusted p ${pValue(test.p)}` : "";
  const verdict = test.marked
    ? "The confusion has a direction."
    : Number.isFinite(test.p)
      ? "A direction is not certain."
      : "One seed cannot tell whether it has a direction.";
  const people = (lookalikes?.maps ?? []).map((map) => {
    const words = map.distances
      ? `${number(map.values[a][b] ?? Number.NaN, 2)} standard deviations apart by their pixels`
      : `${classes[a]} for ${classes[b]} ${number(100 * (map.values[a][b] ?? Number.NaN), 2)} %, ${classes[b]} for ${classes[a]} ${number(100 * (map.values[b][a] ?? Number.NaN), 2)} %`;
    return make("li", {}, `${map.label[0].toUpperCase()}${map.label.slice(1)}: ${words}.`);
  });
  const side = (/** @type {number} */ from, /** @type {number} */ to) => {
    const found = model.inCell(state.c, [from], [to]);
    const count = model.mean(state.c, seeds)[from * model.numClasses + to];
    const size = model.values.sizes[from];
    const [curve, beside] = [
      [from, to],
      [to, from],
    ].map(([i, j]) => (series && model.baseline >= 0 ? cellCurve(model, series, [i], [j], "counts") : []));
    return make(
      "section",
      { class: "pair-side" },
      make(
        "h3",
        {},
        make("a", { href: pageHash("class", [from]) }, classes[from]),
        " taken for ",
        make("a", { href: pageHash("class", [to]) }, classes[to]),
      ),
      make(
        "p",
        { class: "value" },
        make("strong", {}, `${number(count)} of ${size.toLocaleString("en-US")} test images`),
        make("span", { class: "soft" }, ` (${number(size ? (100 * count) / size : Number.NaN)} %)`),
      ),
      series &&
        curve.length > 1 &&
        doseChart(curve, {
          title: `Change under ${series.label}`,
          unit: "test images",
          zero: true,
          signed: true,
          beside,
          at: curve.findIndex((each) => each.condition === state.c),
        }),
      found.length
        ? imageList(model, found, { seeds: seeds.length, sort: state.sort, caption: (each) => sure(model, each.after) })
        : make("p", { class: "soft" }, "No image at any seed."),
    );
  };
  figure.replaceChildren(
    make("h2", { id: "figure-title" }, `${classes[a]} and ${classes[b]}`),
    make("p", { class: "soft" }, label),
    make(
      "p",
      { class: "lead", id: "direction" },
      `${classes[a]} → ${classes[b]} minus ${classes[b]} → ${classes[a]}: ${number(test.value, 1, true)}${ends} test images${judged}. ${verdict}`,
    ),
    people.length ? make("ul", { class: "others" }, people) : "",
    make(
      "p",
      { class: "soft" },
      model.confidence
        ? "Under each image: confidence, and how many seeds agree. "
        : "How many seeds agree stands under each image. ",
      sortChoice(state),
    ),
    make("div", { class: "two" }, side(a, b), side(b, a)),
  );
}

// @ts-check
// The images behind a cell, and one image with its whole history.

/** Thumbnails that are laid out before the reader asks for more. */
const atOnce = () => (innerWidth < 700 ? 36 : 120);

/** @type {Map<string, string>} */
const sprites = new Map();

/**
 * The address of a picture that stands in the page.
 * @param {string} id
 */
function spriteAddress(id) {
  let address = sprites.get(id);
  if (!address) {
    address = URL.createObjectURL(new Blob([bytesOf(textOf(id))], { type: "image/jpeg" }));
    sprites.set(id, address);
  }
  return address;
}

/** Decodes the test images while the reader looks at the matrix, so that the first click need not wait. */
function decodeAhead() {
  const picture = new Image();
  picture.src = spriteAddress("test-images");
  // A picture that cannot be decoded is no reason to stop: its thumbnails stay empty.
  picture.decode().catch(() => {});
}

/**
 * One thumbnail.
 * @param {Sprite} sprite
 * @param {string} id
 * @param {number} place
 * @param {number} side  Of the square that it must fit in.
 * @param {string} [label]
 */
function thumbnail(sprite, id, place, side, label = "") {
  const scale = side / Math.max(sprite.width, sprite.height);
  const element = make("span", { class: "thumbnail", role: "img", "aria-label": label });
  const [x, y] = [place % sprite.columns, Math.floor(place / sprite.columns)];
  element.style.width = `${sprite.width * scale}px`;
  element.style.height = `${sprite.height * scale}px`;
  element.style.backgroundImage = `url("${spriteAddress(id)}")`;
  element.style.backgroundSize = `${sprite.columns * sprite.pitch_x * scale}px ${sprite.rows * sprite.pitch_y * scale}px`;
  element.style.backgroundPosition = `${-x * sprite.pitch_x * scale}px ${-y * sprite.pitch_y * scale}px`;
  return element;
}

/**
 * An image of the test set, or its number where the page has no images.
 * @param {Model} model
 * @param {number} image
 * @param {number} side
 */
function testImage(model, image, side) {
  const { sprite } = model.values;
  const name = `test image ${model.images[image]}`;
  if (sprite) return thumbnail(sprite, "test-images", image, side, name);
  const element = make(
    "span",
    { class: "thumbnail nameless", role: "img", "aria-label": name },
    `#${model.images[image]}`,
  );
  element.style.width = element.style.height = `${side}px`;
  return element;
}

/** @param {number} agreed @param {number} all */
function pips(agreed, all) {
  if (all > 10) return make("span", { class: "pips" }, `${agreed}/${all}`);
  const dots = Array.from({ length: all }, (_, at) => make("i", { class: at < agreed ? "on" : "" }));
  return make("span", { class: "pips", title: `${agreed} of ${all} seeds` }, dots);
}

/** @param {Model} model @param {number} share */
function sure(model, share) {
  return model.confidence ? number(share, 2) : "";
}

/**
 * The list of images of one kind, with what is said of each.
 * @param {Model} model
 * @param {Found[]} found
 * @param {{seeds: number, sort: "confidence" | "seeds", side?: number, caption: (each: Found) => string}} options
 */
function imageList(model, found, { seeds, sort, side = 64, caption }) {
  const ordered = sort === "seeds" ? [...found].sort((a, b) => b.seeds - a.seeds) : found;
  const list = make("ol", { class: "images" });
  const more = make("button", { type: "button", class: "more" });
  const some = atOnce();
  const add = () => {
    const from = list.children.length;
    for (const each of ordered.slice(from, from + some)) {
      const index = model.images[each.image];
      const suspect = model.suspects.has(index);
      const words = `test image ${index}, ${caption(each)}, ${each.seeds} of ${seeds} seeds`;
      list.append(
        make(
          "li",
          {},
          make(
            "button",
            {
              type: "button",
              "data-image": index,
              "aria-label": words + (suspect ? ", looks mislabelled" : ""),
              click: () => go({ img: index }),
            },
            testImage(model, each.image, side),
            suspect &&
              make(
                "b",
                { class: "suspect", title: "Looks mislabelled: every network is sure of this other class" },
                "?",
              ),
          ),
          make("span", { class: "caption" }, make("span", { class: "sure" }, caption(each)), pips(each.seeds, seeds)),
        ),
      );
    }
    const left = ordered.length - list.children.length;
    more.hidden = left <= 0;
    more.textContent = `Show ${Math.min(left, some)} more of ${left}`;
  };
  more.addEventListener("click", add);
  add();
  return make("div", { class: "image-list" }, list, more);
}

/**
 * Everything about the cell that was opened: its number, and the images that make it.
 * @param {Model} model
 * @param {State} state
 * @param {Grid} grid
 */
function cellPanel(model, state, grid) {
  const truth = grid.groups.findIndex((group) => group.key === state.cell?.[0]);
  const pred = grid.groups.findIndex((group) => group.key === state.cell?.[1]);
  if (truth < 0 || pred < 0) return emptyPanel(model);
  const cell = grid.cell(truth, pred);
  const [from, to] = [grid.groups[truth], grid.groups[pred]];
  const title = truth === pred ? `${from.label}, right` : `${from.label} taken for ${to.label}`;
  const size = model.sizeOf(from.classes);
  const words = size ? valueWords(model, grid, cell, truth) : "no test images of this class";
  const { conditions } = model.values;
  const about =
    grid.other >= 0
      ? `${conditions[grid.condition].label} minus ${conditions[grid.other].label}`
      : conditions[grid.condition].label;
  const links = [];
  if (from.kind === "class")
    links.push(make("a", { href: pageHash("class", from.classes) }, `All about ${from.label}`));
  if (from.kind === "class" && to.kind === "class" && from !== to)
    links.push(
      make(
        "a",
        { href: pageHash("pair", [from.classes[0], to.classes[0]]) },
        `${from.label} and ${to.label} both ways`,
      ),
    );
  const panel = make(
    "div",
    { class: "cell-panel" },
    make(
      "header",
      {},
      make("h2", { tabindex: -1, id: "cell-title" }, title),
      make(
        "button",
        {
          type: "button",
          class: "quiet close",
          "aria-label": "Close the cell",
          click: () => go({ cell: null, tab: null }),
        },
        "×",
      ),
    ),
    make("p", { class: "soft" }, about),
    make(
      "p",
      { class: "value" },
      make("strong", {}, words),
      make("button", { type: "button", class: "quiet", click: () => copyText(`${title}, ${about}: ${words}`) }, "Copy"),
    ),
    size ? seedDots(model, grid, truth, pred) : null,
    make("p", { class: "soft" }, `of ${size.toLocaleString("en-US")} test images, ${seedWords(model, grid)}`),
    grid.other >= 0 && !cell.estimate && make("p", { class: "soft" }, estimateApology(grid, from, to)),
    make("p", { class: "links" }, links),
  );
  panel.append(grid.other >= 0 ? movesOf(model, state, grid, from, to) : insideOf(model, state, grid, from, to));
  if (model.values.chosen) panel.append(make("p", { class: "soft" }, model.values.chosen));
  return panel;
}

/** @param {Grid} grid @param {Group} from @param {Group} to */
function estimateApology(grid, from, to) {
  if (!grid.estimated)
    return "No interval: the analysis compares these two conditions with the baseline, not with each other.";
  if (from.kind !== "class" || to.kind !== "class") return "No interval: this cell is a sum of several.";
  return "";
}

/** @param {"class" | "pair"} view @param {number[]} classes */
function pageHash(view, classes) {
  return hashWith({ v: view, k: classes.join("."), cell: null, tab: null, img: null, hl: null });
}

/** @param {Model} model */
function emptyPanel(model) {
  return make(
    "div",
    { class: "cell-panel empty" },
    make("h2", {}, "Open a cell"),
    make(
      "p",
      {},
      "Every number is made of test images. Click a cell, or go to it with the arrow keys and press Enter, to see them.",
    ),
    model.values.sprite
      ? null
      : make("p", {}, "The images themselves were not found when this page was made, so they are named by number."),
    make("p", { class: "soft" }, "Press ? for all keys."),
  );
}

/**
 * @param {Model} model
 * @param {State} state
 * @param {Grid} grid
 * @param {Group} from
 * @param {Group} to
 */
function movesOf(model, state, grid, from, to) {
  const seeds = model.shared(grid.condition, grid.other).length;
  const moves = model.moves(grid.condition, grid.other, from.classes, to.classes);
  const totals = moves.map((move) => move.images.reduce((sum, each) => sum + each.seeds, 0) / seeds);
  const open = Math.max(
    0,
    moves.findIndex((move) => move.name === state.tab),
  );
  const first = moves.some((move) => move.name === state.tab)
    ? open
    : Math.max(
        0,
        totals.findIndex((total) => total > 0),
      );
  const tabs = moves.map((move, at) =>
    make(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${move.name}`,
        "aria-selected": String(at === first),
        "aria-controls": "tab-images",
        tabindex: at === first ? 0 : -1,
        disabled: move.images.length === 0 && at !== first,
        click: () => go({ tab: move.name }, { replace: true }),
      },
      make("span", {}, move.label),
      make("b", {}, number(move.sign < 0 ? -totals[at] : totals[at], 1, move.sign > 0)),
    ),
  );
  const list = make("div", { role: "tablist", "aria-label": "What became of the images", class: "tabs" }, tabs);
  list.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    const there = tabs.filter((tab) => !tab.disabled);
    const now = there.findIndex((tab) => tab.id === document.activeElement?.id);
    const next = there[(now + step + there.length) % there.length];
    next.click();
    document.getElementById(next.id)?.focus();
  });
  const move = moves[first];
  const caption = (/** @type {Found} */ each) =>
    model.confidence ? `${number(each.before, 2)} → ${number(each.after, 2)}` : "";
  return make(
    "section",
    { class: "moves" },
    list,
    make(
      "div",
      { role: "tabpanel", id: "tab-images", "aria-labelledby": `tab-${move.name}` },
      make(
        "p",
        { class: "soft how" },
        `${move.images.length.toLocaleString("en-US")} images at one seed or more, ${number(totals[first], 1)} at each in the mean. Under each: confidence ${model.values.conditions[grid.other].label} → ${model.values.conditions[grid.condition].label}, and how many of ${seeds} seeds agree.`,
        sortChoice(state),
      ),
      move.images.length
        ? imageList(model, move.images, { seeds, sort: state.sort, caption })
        : make("p", { class: "soft" }, "No image."),
    ),
  );
}

/** @param {State} state */
function sortChoice(state) {
  return make(
    "label",
    { class: "sort" },
    " First: ",
    choice(
      [
        ["confidence", "most confident"],
        ["seeds", "most seeds"],
      ],
      state.sort,
      (sort) => go({ sort }, { replace: true }),
      "sort",
    ),
  );
}

/**
 * @param {Model} model
 * @param {State} state
 * @param {Grid} grid
 * @param {Group} from
 * @param {Group} to
 */
function insideOf(model, state, grid, from, to) {
  const found = model.inCell(grid.condition, from.classes, to.classes);
  const seeds = model.values.conditions[grid.condition].seeds.length;
  const caption = (/** @type {Found} */ each) => sure(model, each.after);
  return make(
    "section",
    { class: "moves" },
    make(
      "p",
      { class: "soft how" },
      `${found.length.toLocaleString("en-US")} images at one seed or more. Under each: confidence, and how many of ${seeds} seeds agree.`,
      sortChoice(state),
    ),
    imageList(model, found, { seeds, sort: state.sort, caption }),
  );
}

// One image, enlarged

/**
 * Shows or closes the dialog of an image.
 * @param {Model} model
 * @param {State} state
 */
function showImage(model, state) {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("image"));
  if (state.img < 0) {
    if (dialog.open) dialog.close();
    return;
  }
  const image = state.img;
  const { classes, conditions, series } = model.values;
  const index = model.images[image];
  const label = classes[model.labels[image]];
  const shown = [...new Set([state.b, state.c])];
  dialog.replaceChildren(
    make(
      "header",
      {},
      make("h2", { id: "image-title" }, `Test image ${index}: `, make("em", {}, label)),
      make(
        "button",
        { type: "button", class: "quiet close", "aria-label": "Close the image", click: () => dialog.close() },
        "×",
      ),
    ),
    model.suspects.has(index)
      ? make(
          "p",
          { class: "note" },
          "Looks mislabelled: every network of the baseline is sure of the same other class.",
        )
      : "",
    make(
      "div",
      { class: "enlarged" },
      testImage(model, image, Math.min(256, innerWidth - 64)),
      make(
        "div",
        { class: "said" },
        shown.map((condition) => saidOf(model, condition, image)),
        make("div", { class: "steps" }, stepButton(-1), stepButton(1)),
      ),
    ),
    series.length
      ? make(
          "div",
          { class: "histories" },
          series.map((each) => historyStrip(model, each, image)),
        )
      : make(
          "p",
          { class: "soft" },
          conditions.length > 1 ? "No series of levels was run." : "Only one condition was run.",
        ),
  );
  if (!dialog.open) dialog.showModal();
}

/**
 * What each seed of a condition says of an image.
 * @param {Model} model
 * @param {number} condition
 * @param {number} image
 */
function saidOf(model, condition, image) {
  const { classes, conditions, seeds } = model.values;
  return make(
    "div",
    {},
    make("h3", {}, conditions[condition].label),
    make(
      "ul",
      {},
      conditions[condition].seeds.map((seed) => {
        const pred = model.pred(condition, seed, image);
        const confidence = model.confidence
          ? model.confidence[model.run(condition, seed) * model.numImages + image] / 255
          : 0;
        const right = pred === model.labels[image];
        return make(
          "li",
          { class: right ? "right" : "wrong" },
          make("span", { class: "soft" }, `seed ${seeds[seed]} `),
          classes[pred],
          make("span", { class: "sure" }, ` ${sure(model, confidence)}`),
        );
      }),
    ),
  );
}

/**
 * To the next image of the list that is open.
 * @param {-1 | 1} step
 */
function stepButton(step) {
  const next = neighbour(step);
  return make(
    "button",
    { type: "button", disabled: next === null, click: () => next !== null && go({ img: next }, { replace: true }) },
    step < 0 ? "← Previous" : "Next →",
  );
}

/**
 * The image before or after the one that is enlarged, as the lists on the page have them.
 * @param {-1 | 1} step
 */
function neighbour(step) {
  const now = new URLSearchParams(location.hash.slice(1)).get("img");
  const lists = [...document.querySelectorAll(".image-list")];
  for (const list of lists) {
    const all = [...list.querySelectorAll("[data-image]")].map(
      (each) => /** @type {HTMLElement} */ (each).dataset.image,
    );
    const at = all.indexOf(now ?? undefined);
    if (at >= 0) return all[at + step] ?? null;
  }
  return null;
}

/**
 * What an image is taken for at every level and seed of a series.
 * @param {Model} model
 * @param {Series} series
 * @param {number} image
 */
function historyStrip(model, series, image) {
  const { classes, conditions, seeds } = model.values;
  const used = seeds.map((_, seed) => seed).filter((seed) => series.conditions.some((c) => model.run(c, seed) >= 0));
  const head = make(
    "tr",
    {},
    make("th", { scope: "col" }, "seed"),
    series.conditions.map((c) => make("th", { scope: "col" }, percent(conditions[c].level))),
  );
  const lines = used.map((seed) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, seeds[seed]),
      series.conditions.map((c) => {
        if (model.run(c, seed) < 0) return make("td", { class: "missing" }, "");
        const pred = model.pred(c, seed, image);
        const right = pred === model.labels[image];
        return make("td", { class: right ? "right" : "wrong", title: classes[pred] }, right ? "✓" : classes[pred]);
      }),
    ),
  );
  return make(
    "section",
    { class: "history" },
    make("h3", {}, series.label, " ", make("span", { class: "verdict" }, model.history(series, image))),
    make(
      "div",
      { class: "wide", tabindex: 0, role: "region", "aria-label": series.label },
      make("table", {}, make("thead", {}, head), make("tbody", {}, lines)),
    ),
  );
}

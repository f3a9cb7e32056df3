// @ts-check
// What is shown follows from the address alone, so that Back works and a view can be sent as a link.

/**
 * @typedef {object} State
 * @property {"matrix" | "dose" | "side" | "class" | "pair"} v  View.
 * @property {number} c  Condition.
 * @property {number} b  What it is compared with.
 * @property {"absolute" | "relative" | "significant"} m  Of the matrix.
 * @property {"counts" | "rates"} u  Units.
 * @property {"article" | "rows"} t  Truth along the bottom, or in rows.
 * @property {string} o  Order of the classes.
 * @property {number} n  Most classes that are shown by themselves.
 * @property {number[]} k  Class or pair of a page.
 * @property {string} s  Series.
 * @property {[number, number] | null} cell  Keys of the groups of the true and the predicted class.
 * @property {string} tab  Which images of the cell.
 * @property {"confidence" | "seeds"} sort  Of the images.
 * @property {number} img  Image that is enlarged; -1: none.
 * @property {number[][]} merge  Classes that count as one.
 * @property {number[]} hl  Classes that are pointed out.
 */

const VIEWS = /** @type {const} */ (["matrix", "dose", "side", "class", "pair"]);
const MODES = /** @type {const} */ (["relative", "significant", "absolute"]);
const UNITS = /** @type {const} */ (["counts", "rates"]);
const LAYOUTS = /** @type {const} */ (["article", "rows"]);
const SORTS = /** @type {const} */ (["confidence", "seeds"]);

/** Most classes that have a row of their own, unless the reader asks for more. */
const MANY = 20;

/**
 * @template {string} T
 * @param {string | null} word
 * @param {readonly T[]} allowed
 * @returns {T}
 */
function oneOf(word, allowed) {
  return allowed.find((each) => each === word) ?? allowed[0];
}

/**
 * Whole numbers below a bound, separated by points; what is none is left out.
 * @param {string | null} word
 * @param {number} bound
 */
function numbersIn(word, bound) {
  const each = (word ?? "").split(".").filter((part) => /^\d{1,9}$/.test(part));
  return [...new Set(each.map(Number).filter((value) => value < bound))];
}

/**
 * @param {Model} model
 * @param {string} hash
 * @returns {State}
 */
function parseState(model, hash) {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const { conditions, orders } = model.values;
  const place = (/** @type {string} */ key) => conditions.findIndex((each) => each.name === words.get(key));
  const start = conditions.findIndex((each) => each.name === model.values.start.c);
  const named = place("c") >= 0 ? place("c") : Math.max(start, 0);
  const against = place("b") >= 0 ? place("b") : model.baseline;
  const canCompare = against >= 0 && model.shared(named, against).length > 0;
  const orderWords = ["given", "name", "accuracy", "lookalike", ...Object.keys(orders.sensitive)];
  const pair = (words.get("cell") ?? "").split(".").map(Number);
  const isCell = pair.length === 2 && pair.every((c) => Number.isInteger(c) && c >= 0 && c <= model.numClasses);
  const most = Number(words.get("n"));
  const merged = (words.get("merge") ?? "").split("_").map((part) => numbersIn(part, model.numClasses));
  const taken = new Set();
  const merge = merged
    .map((group) => group.filter((c) => !taken.has(c) && taken.add(c)))
    .filter((group) => group.length > 1);
  const image = words.get("img");
  return {
    v: oneOf(words.get("v"), VIEWS),
    c: named,
    b: canCompare ? against : named,
    m: canCompare && against !== named ? oneOf(words.get("m"), MODES) : "absolute",
    u: oneOf(words.get("u"), UNITS),
    t: oneOf(words.get("t"), LAYOUTS),
    o: oneOf(words.get("o"), orderWords),
    n: most >= 2 && most <= 60 ? Math.floor(most) : MANY,
    k: numbersIn(words.get("k"), model.numClasses).slice(0, 2),
    s: words.get("s") ?? "",
    cell: isCell ? [pair[0], pair[1]] : null,
    tab: words.get("tab") ?? "",
    sort: oneOf(words.get("sort"), SORTS),
    img: image !== null && /^\d{1,9}$/.test(image) ? model.images.indexOf(Number(image)) : -1,
    merge,
    hl: numbersIn(words.get("hl"), model.numClasses),
  };
}

/**
 * The address of the present view with some words changed; null takes a word away.
 * @param {Record<string, string | number | null>} changes
 */
function hashWith(changes) {
  const words = new URLSearchParams(location.hash.replace(/^#/, ""));
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === "") words.delete(key);
    else words.set(key, String(value));
  }
  return `#${words}`;
}

/**
 * The address of a view that the study names.
 * @param {View} view
 */
function hashOf(view) {
  return `#${new URLSearchParams(view)}`;
}

/**
 * Goes to another view.
 * @param {Record<string, string | number | null>} changes
 * @param {{replace?: boolean}} [options]  Whether Back leads past it.
 */
function go(changes, options = {}) {
  const hash = hashWith(changes);
  if (hash === location.hash) return;
  history[options.replace ? "replaceState" : "pushState"](null, "", hash);
  dispatchEvent(new Event("view"));
}

// Classes as they are shown: in order, some as one, and of very many those that are confused most.

/**
 * @typedef {{classes: number[], label: string, kind: "class" | "merged" | "other", key: number}} Group
 *   The key is its first class; that of all others is the number of classes.
 */

/**
 * @param {Model} model
 * @param {State} state
 * @returns {Group[]}
 */
function groupsOf(model, state) {
  const { orders, classes } = model.values;
  /** @type {number[]} */
  const order =
    orders.sensitive[state.o] ?? orders[/** @type {"given" | "name" | "accuracy" | "lookalike"} */ (state.o)];
  const merged = new Map(state.merge.flatMap((group) => group.map((c) => [c, group])));
  const opened = (state.cell ?? []).filter((c) => c < model.numClasses);
  const needed = new Set([...opened, ...state.merge.flat(), ...state.hl]);
  const ranked = [...needed, ...orders.confused.filter((c) => !needed.has(c))];
  const shown = new Set(model.numClasses > state.n ? ranked.slice(0, state.n) : order);
  /** @type {Group[]} */
  const groups = [];
  const done = new Set();
  for (const c of order) {
    if (!shown.has(c) || done.has(c)) continue;
    const members = merged.get(c) ?? [c];
    for (const member of members) done.add(member);
    const label = members.map((member) => classes[member]).join(" + ");
    groups.push({ classes: members, label, kind: members.length > 1 ? "merged" : "class", key: members[0] });
  }
  const rest = order.filter((c) => !done.has(c));
  if (rest.length === 1) groups.push({ classes: rest, label: classes[rest[0]], kind: "class", key: rest[0] });
  if (rest.length > 1)
    groups.push({ classes: rest, label: `(other: ${rest.length})`, kind: "other", key: model.numClasses });
  return groups;
}

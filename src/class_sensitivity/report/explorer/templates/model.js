// @ts-check
// What the page knows of the study. Statistics come from Python; here cells are summed, counted and put in order.

/**
 * @typedef {{
 *   name: string, label: string, series: string | null, level: number, noisy: boolean, reduced: boolean,
 *   seeds: number[], train_size: number | null, wrong_labels: number | null, accuracy: string, fall: string,
 *   recall: {value: (number | null)[], low: (number | null)[], high: (number | null)[]}, falls: string[],
 * }} Condition
 * @typedef {{name: string, label: string, conditions: number[]}} Series
 * @typedef {Record<string, string>} View  The words behind the # of an address.
 * @typedef {{text: string, view: View | null, place: string}} Finding
 * @typedef {{short: string, text: string, about: string, view: View}} Advice
 * @typedef {{
 *   id: string, claim: string, verdict: string, text: string, parts: {verdict: string, text: string}[],
 *   needed: string, command: string, view: View | null,
 * }} Claim
 * @typedef {{
 *   width: number, height: number, pitch_x: number, pitch_y: number, columns: number, rows: number,
 * }} Sprite
 * @typedef {{
 *   series: string, label: string, loss: string[], rank: number[], ranks: (number | null)[][] | null, knee: string[],
 * }} Curve
 * @typedef {{name: string, label: string, distances: boolean, values: (number | null)[][]}} PairMap
 * @typedef {{
 *   data: string, model: string, recipe: string, coverage: number, alpha: number, minimum: number, classes: string[],
 *   sizes: number[], seeds: number[], conditions: Condition[], series: Series[], runs: [number, number][],
 *   comparisons: {kind: string, condition: number, other: number, title: string}[], limit: number, curves: Curve[],
 *   orders: {name: number[], given: number[], accuracy: number[], lookalike: number[], confused: number[],
 *            sensitive: Record<string, number[]>},
 *   equal: {noise: number, reduction: number, text: string}[],
 *   exchange: {condition: number, overall: string, classes: string[]}[],
 *   lookalikes: {value: (number | null)[][], low: (number | null)[][], high: (number | null)[][], maps: PairMap[]} | null,
 *   suspects: number[], sprite: Sprite | null, train: (Sprite & {of_class: number[]}) | null, chosen: string,
 *   findings: Finding[], advice: Advice[], claims_title: string, claims: Claim[], caveats: string[], start: View,
 *   studies: {name: string, file: string}[], report: string, version: string,
 *   arrays: Record<string, {type: string, shape: number[], offset: number}>,
 * }} Values
 * @typedef {Uint8Array | Uint16Array | Uint32Array} Whole
 * @typedef {{value: number, low: number, high: number, p: number, judged: boolean, marked: boolean}} Estimate
 * @typedef {{image: number, seeds: number, confidence: number, before: number, after: number}} Found
 *   An image (its place among those of the page), how many seeds agree on it, and how sure they are.
 */

/** @param {string} base64 */
function bytesOf(base64) {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** @param {string} id */
function textOf(id) {
  return document.getElementById(id)?.textContent ?? "";
}

/** Reads what stands in the page. */
async function readModel() {
  /** @type {Values} */
  const values = JSON.parse(textOf("values"));
  const packed = new Blob([bytesOf(textOf("packed"))]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Model(values, await new Response(packed).arrayBuffer());
}

class Model {
  /**
   * @param {Values} values
   * @param {ArrayBuffer} buffer
   */
  constructor(values, buffer) {
    this.values = values;
    this.buffer = buffer;
    this.numClasses = values.classes.length;
    this.numSeeds = values.seeds.length;
    this.baseline = values.conditions.findIndex((each) => !each.noisy && !each.reduced);
    this.total = values.sizes.reduce((sum, size) => sum + size, 0);
    /** @type {Map<string, Whole | Float32Array>} */ this.views = new Map();
    /** @type {Whole} */ this.labels = this.whole("labels");
    /** @type {Whole} */ this.images = this.whole("images");
    /** @type {Whole} */ this.preds = this.whole("preds");
    /** @type {Whole} */ this.counts = this.whole("counts");
    this.confidence = values.arrays.confidence ? this.whole("confidence") : null;
    this.numImages = this.labels.length;
    this.suspects = new Set(values.suspects);
    this.runs = new Int32Array(values.conditions.length * this.numSeeds).fill(-1);
    values.runs.forEach(([condition, seed], run) => {
      this.runs[condition * this.numSeeds + seed] = run;
    });
    /** @type {Map<string, Float64Array>} */ this.means = new Map();
    /** @type {number[][]} Images by their class. */
    this.ofClass = values.classes.map(() => []);
    for (let image = 0; image < this.numImages; image++) this.ofClass[this.labels[image]].push(image);
  }

  /** @param {string} name */
  view(name) {
    const view = this.views.get(name) ?? this.open(name);
    this.views.set(name, view);
    return view;
  }

  /** @param {string} name */
  open(name) {
    const { type, shape, offset } = this.values.arrays[name];
    const length = shape.reduce((product, side) => product * side, 1);
    const types = { Uint8Array, Uint16Array, Uint32Array, Float32Array };
    return new types[/** @type {keyof types} */ (type)](this.buffer, offset, length);
  }

  /**
   * @param {string} name
   * @returns {Whole}
   */
  whole(name) {
    return /** @type {Whole} */ (this.view(name));
  }

  /**
   * @param {number} condition
   * @param {number} seed
   */
  run(condition, seed) {
    return this.runs[condition * this.numSeeds + seed];
  }

  /**
   * Seeds that were run at both conditions.
   * @param {number} one
   * @param {number} other
   */
  shared(one, other) {
    const there = new Set(this.values.conditions[other].seeds);
    return this.values.conditions[one].seeds.filter((seed) => there.has(seed));
  }

  /**
   * (K, K) mean counts of a condition over seeds.
   * @param {number} condition
   * @param {number[]} seeds
   */
  mean(condition, seeds) {
    const key = `${condition}:${seeds}`;
    let mean = this.means.get(key);
    if (!mean) {
      const cells = this.numClasses ** 2;
      mean = new Float64Array(cells);
      for (const seed of seeds) {
        const start = this.run(condition, seed) * cells;
        for (let cell = 0; cell < cells; cell++) mean[cell] += this.counts[start + cell] / seeds.length;
      }
      this.means.set(key, mean);
    }
    return mean;
  }

  /**
   * The comparison of two conditions that Python made, if it did.
   * @param {number} condition
   * @param {number} other
   */
  comparison(condition, other) {
    return this.values.comparisons.findIndex((each) => each.condition === condition && each.other === other);
  }

  /**
   * What Python says of a cell of a comparison; null where it says nothing.
   * @param {number} condition
   * @param {number} other
   * @param {number} cell
   * @returns {Estimate | null}
   */
  estimate(condition, other, cell) {
    const comparison = this.comparison(condition, other);
    if (comparison < 0) return null;
    const at = comparison * this.numClasses ** 2 + cell;
    const flags = this.view("cell_flags")[at];
    return {
      value: this.view("cell_value")[at],
      low: this.view("cell_low")[at],
      high: this.view("cell_high")[at],
      p: this.view("cell_p")[at],
      judged: (flags & 1) > 0,
      marked: (flags & 2) > 0,
    };
  }

  /**
   * What Python says of C[one, other] - C[other, one] at a condition.
   * @param {number} condition
   * @param {number} one
   * @param {number} other
   * @returns {Estimate}
   */
  direction(condition, one, other) {
    const [i, j] = one < other ? [one, other] : [other, one];
    const k = this.numClasses;
    const at = condition * ((k * (k - 1)) / 2) + i * k - (i * (i + 1)) / 2 + (j - i - 1);
    const [value, low, high] = ["pair_value", "pair_low", "pair_high"].map((name) => this.view(name)[at]);
    const p = this.view("pair_p")[at];
    const marked = this.view("pair_marked")[at] > 0;
    const turned = one > other;
    const ends = { value: turned ? -value : value, low: turned ? -high : low, high: turned ? -low : high };
    return { ...ends, p, judged: true, marked };
  }

  /**
   * Sum of the counts of a run over groups of classes.
   * @param {number} run
   * @param {number[]} trues
   * @param {number[]} preds
   */
  countOf(run, trues, preds) {
    let sum = 0;
    for (const i of trues) for (const j of preds) sum += this.counts[(run * this.numClasses + i) * this.numClasses + j];
    return sum;
  }

  /** @param {number[]} group */
  sizeOf(group) {
    return group.reduce((sum, c) => sum + this.values.sizes[c], 0);
  }

  /**
   * Share of the test images that are right, in percent, mean over seeds, where some classes count as one.
   * @param {number} condition
   * @param {number[][]} groups
   */
  accuracy(condition, groups) {
    const { seeds } = this.values.conditions[condition];
    let right = 0;
    for (const seed of seeds)
      for (const group of groups) right += this.countOf(this.run(condition, seed), group, group);
    return (100 * right) / (seeds.length * this.total);
  }

  /**
   * The images of a cell of one condition: those that any seed puts there.
   * @param {number} condition
   * @param {number[]} trues
   * @param {number[]} preds
   */
  inCell(condition, trues, preds) {
    const inside = this.membership(preds);
    const { seeds } = this.values.conditions[condition];
    return this.found(trues, seeds, condition, condition, (after) => inside[after] === 1, false);
  }

  /** @param {number[]} group */
  membership(group) {
    const inside = new Uint8Array(this.numClasses);
    for (const c of group) inside[c] = 1;
    return inside;
  }

  /**
   * The images that moved between two conditions, by what became of them; every paired seed counts by itself.
   * @param {number} condition
   * @param {number} other
   * @param {number[]} trues
   * @param {number[]} preds
   */
  moves(condition, other, trues, preds) {
    const right = this.membership(trues);
    const there = this.membership(preds);
    const seeds = this.shared(condition, other);
    /** @param {(after: number, before: number) => boolean} test @param {boolean} [sureBefore] */
    const those = (test, sureBefore = false) => this.found(trues, seeds, condition, other, test, sureBefore);
    const isRight = (/** @type {number} */ c) => right[c] === 1;
    const isThere = (/** @type {number} */ c) => there[c] === 1;
    if (trues.some((c) => there[c])) {
      return [
        { name: "wrong", label: "became wrong", sign: -1, images: those((a, b) => isRight(b) && !isRight(a)) },
        { name: "right", label: "became right", sign: 1, images: those((a, b) => !isRight(b) && isRight(a), true) },
        { name: "both", label: "wrong in both", sign: 0, images: those((a, b) => !isRight(b) && !isRight(a)) },
        { name: "kept", label: "right in both", sign: 0, images: those((a, b) => isRight(b) && isRight(a)) },
      ];
    }
    return [
      { name: "wrong", label: "became wrong", sign: 1, images: those((a, b) => isRight(b) && isThere(a)) },
      { name: "right", label: "became right", sign: -1, images: those((a, b) => isThere(b) && isRight(a), true) },
      { name: "both", label: "wrong in both", sign: 0, images: those((a, b) => isThere(b) && isThere(a)) },
      {
        name: "came",
        label: "from another mistake",
        sign: 1,
        images: those((a, b) => !isRight(b) && !isThere(b) && isThere(a)),
      },
      {
        name: "went",
        label: "to another mistake",
        sign: -1,
        images: those((a, b) => isThere(b) && !isThere(a) && !isRight(a), true),
      },
    ];
  }

  /**
   * Images of some classes for which a test of the predictions before and after holds at one seed or more, those that
   * the seeds for which it holds are most sure of first.
   * @param {number[]} trues
   * @param {number[]} seeds
   * @param {number} condition
   * @param {number} other
   * @param {(after: number, before: number) => boolean} test
   * @param {boolean} sureBefore  Confidence is that of the condition that is compared with.
   * @returns {Found[]}
   */
  found(trues, seeds, condition, other, test, sureBefore) {
    const after = seeds.map((seed) => this.run(condition, seed) * this.numImages);
    const before = seeds.map((seed) => this.run(other, seed) * this.numImages);
    /** @type {Found[]} */
    const found = [];
    for (const c of trues) {
      for (const image of this.ofClass[c]) {
        let [agreed, first, last] = [0, 0, 0];
        for (let s = 0; s < seeds.length; s++) {
          if (!test(this.preds[after[s] + image], this.preds[before[s] + image])) continue;
          agreed += 1;
          first += this.confidence ? this.confidence[before[s] + image] : 0;
          last += this.confidence ? this.confidence[after[s] + image] : 0;
        }
        if (!agreed) continue;
        const [sureThen, sureNow] = [first / agreed / 255, last / agreed / 255];
        const confidence = sureBefore ? sureThen : sureNow;
        found.push({ image, seeds: agreed, confidence, before: sureThen, after: sureNow });
      }
    }
    return found.sort((a, b) => b.confidence - a.confidence || b.seeds - a.seeds || a.image - b.image);
  }

  /**
   * What a run takes an image for.
   * @param {number} condition
   * @param {number} seed
   * @param {number} image
   */
  pred(condition, seed, image) {
    return this.preds[this.run(condition, seed) * this.numImages + image];
  }

  /**
   * What became of an image along a series, in words, by what most seeds say at each level.
   * @param {Series} series
   * @param {number} image
   */
  history(series, image) {
    const right = series.conditions.map((condition) => {
      const { seeds } = this.values.conditions[condition];
      const hits = seeds.filter((seed) => this.pred(condition, seed, image) === this.labels[image]).length;
      return hits > seeds.length / 2;
    });
    if (right.every((each) => each)) return "always right";
    if (!right.some((each) => each)) return "never right";
    const last = right.lastIndexOf(true);
    const level = (/** @type {number} */ at) => percent(this.values.conditions[series.conditions[at]].level);
    if (right.slice(0, last + 1).every((each) => each)) return `falls at ${level(last + 1)}`;
    const first = right.indexOf(true);
    if (right.slice(first).every((each) => each)) return `right from ${level(first)} on`;
    return "changes back and forth";
  }
}

// @ts-check
// Elements, numbers and colours. Text from the study enters the page as text nodes alone.

/**
 * @typedef {string | number | Node | null | undefined | false} Child
 * @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @template {Element} T
 * @param {T} element
 * @param {Attributes} attributes
 * @param {(Child | Child[])[]} children
 */
function furnished(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {(Child | Child[])[]} children
 */
function make(tag, attributes = {}, ...children) {
  return furnished(document.createElement(tag), attributes, children);
}

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} [attributes]
 * @param {(Child | Child[])[]} children
 */
function draw(tag, attributes = {}, ...children) {
  return furnished(document.createElementNS(SVG, tag), attributes, children);
}

// Numbers

/**
 * @param {number} value
 * @param {number} [digits]
 * @param {boolean} [signed]
 */
function number(value, digits = 1, signed = false) {
  if (!Number.isFinite(value)) return "–";
  const text = Math.abs(value).toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  const zero = !/[1-9]/.test(text);
  return (zero ? "" : value < 0 ? "−" : signed ? "+" : "") + text;
}

/** @param {number} share */
function percent(share) {
  return `${Number((100 * share).toPrecision(3))} %`;
}

/** @param {number} p */
function pValue(p) {
  if (!Number.isFinite(p)) return "not tested";
  return p < 0.001 ? "<\u00a00.001" : `=\u00a0${p.toPrecision(2)}`;
}

// Colours

/** Blue: fewer, red: more. @type {Record<"light" | "dark", string[]>} */
const DIVERGING = {
  light: ["#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f5", "#fddbc7", "#f4a582", "#d6604d", "#b2182b"],
  dark: ["#8cc4ff", "#4f97dd", "#2c6299", "#24405c", "#23262c", "#54332e", "#8a4036", "#d06350", "#ff9d85"],
};
/** Mistakes of one condition. @type {Record<"light" | "dark", string[]>} */
const MISTAKES = {
  light: ["#f7f7f5", "#e4e0ee", "#c2b8dc", "#9684bf", "#6a51a3", "#4a2c85"],
  dark: ["#23262c", "#352f4a", "#52467a", "#7a69ad", "#a596d6", "#d5caf5"],
};
/** What one condition gets right. @type {Record<"light" | "dark", string[]>} */
const RIGHT = {
  light: ["#f7f7f5", "#e3ebe6", "#c5dacd", "#9cc2ac"],
  dark: ["#23262c", "#263530", "#2d4a40", "#386353"],
};

/** @returns {"light" | "dark"} */
function scheme() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** @param {string} hex */
function channels(hex) {
  return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
}

/**
 * A colour of a scale, and the ink that can be read on it: with a contrast of 4.5 at least.
 * @param {string[]} stops
 * @param {number} place  From 0 to 1.
 */
function shade(stops, place) {
  const at = Math.min(Math.max(place, 0), 1) * (stops.length - 1);
  const below = Math.min(Math.floor(at), stops.length - 2);
  const [from, to] = [channels(stops[below]), channels(stops[below + 1])];
  const mixed = from.map((value, c) => Math.round(value + (to[c] - value) * (at - below)));
  const linear = mixed.map((value) => (value <= 10 ? value / 3295 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return { fill: `rgb(${mixed.join(" ")})`, light, ink: light > 0.179 ? "#000000" : "#ffffff" };
}

/**
 * Differences have a scale of signed square roots, on which small ones can be seen.
 * @param {number} value
 * @param {number} limit
 */
function diverging(value, limit) {
  const share = Math.min(Math.abs(value) / (limit || 1), 1);
  return shade(DIVERGING[scheme()], 0.5 + 0.5 * Math.sign(value) * Math.sqrt(share));
}

// Copy and download

/** @param {string} text */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // From disk some browsers have no clipboard but the old one.
    const area = make("textarea", { class: "offscreen" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  announce("Copied.");
}

/**
 * @param {string} name
 * @param {string} type
 * @param {string} content
 */
function download(name, type, content) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Says something to those who do not look, and in a corner to those who do. @param {string} text */
function announce(text) {
  const place = document.getElementById("said");
  if (!place) return;
  place.textContent = text;
  clearTimeout(Number(place.dataset.timer));
  place.dataset.timer = String(setTimeout(() => place.replaceChildren(), 2500));
}

/** @param {(string | number)[][]} rows */
function csvOf(rows) {
  const quoted = (/** @type {string | number} */ cell) => {
    const text = String(cell);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${rows.map((row) => row.map(quoted).join(",")).join("\r\n")}\r\n`;
}

// @ts-check
// The page: what was found, the views, the keys.

/** @type {[string, string][]} */
const KEYS = [
  ["← ↑ → ↓", "to the next cell, as the picture has them"],
  ["Home, End, Page Up, Page Down", "to the edges"],
  ["Enter", "opens the cell: its images"],
  ["c", "copies the cell"],
  ["Escape", "closes the image, the cell or this list"],
  ["[ and ]", "to the next lower and higher dose"],
  ["p", "plays the dose"],
  ["1 2 3 4 5", "the views"],
  ["?", "this list"],
];

const TITLES = /** @type {const} */ ({
  matrix: "Matrix",
  dose: "Over the dose",
  side: "Side by side",
  class: "Class",
  pair: "Pair",
});

/** @param {Model} model */
function pageHead(model) {
  const { values } = model;
  const { studies } = values;
  return make(
    "header",
    { class: "top" },
    make(
      "a",
      {
        class: "skip",
        href: "#",
        click: (/** @type {Event} */ event) => {
          event.preventDefault();
          /** @type {HTMLElement | null} */
          (document.querySelector("td[tabindex='0']"))?.focus();
        },
      },
      "To the matrix",
    ),
    make(
      "div",
      {},
      make("h1", {}, "Which classes can this model be fooled about?"),
      make(
        "p",
        { class: "soft" },
        `${values.data}, ${values.model}: ${values.runs.length} runs, ${values.conditions.length} ${values.conditions.length === 1 ? "condition" : "conditions"}, ${values.seeds.length} ${values.seeds.length === 1 ? "seed" : "seeds"}, ${model.total.toLocaleString("en-US")} test images of ${model.numClasses} classes`,
      ),
    ),
    make(
      "nav",
      { "aria-label": "Page" },
      studies.length
        ? make(
            "label",
            {},
            "Study ",
            choice(
              studies.map((each) => [each.file, each.name]),
              studies.find((each) => each.name === values.recipe)?.file ?? "",
              (file) => location.assign(file),
              "Study",
            ),
          )
        : null,
      make("a", { href: values.report }, "Printed report"),
      make("button", { type: "button", class: "quiet", id: "theme", click: switchTheme }, "Dark or light"),
      make("button", { type: "button", class: "quiet", id: "help", "aria-label": "Keys", click: showKeys }, "?"),
    ),
  );
}

function switchTheme() {
  document.documentElement.dataset.theme = scheme() === "dark" ? "light" : "dark";
  dispatchEvent(new Event("view"));
}

function showKeys() {
  const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("keys"));
  if (!dialog.open) dialog.showModal();
}

/** @param {Model} model @param {Finding} finding */
function findingItem(model, finding) {
  const href = finding.view ? hashOf(finding.view) : `${model.values.report}#${finding.place}`;
  return make("li", {}, make("a", { href }, finding.text));
}

/** Every piece of advice with the numbers behind it. @param {Advice[]} advice */
function allAdvice(advice) {
  const items = advice.map((each) =>
    make(
      "li",
      { class: `about-${each.about}` },
      make("a", { href: hashOf(each.view) }, each.short),
      make("p", { class: "soft" }, each.text),
    ),
  );
  return make("details", {}, make("summary", {}, `All ${advice.length}, with their numbers`), make("ul", {}, items));
}

/** What was found, in words; every sentence leads to what shows it. @param {Model} model */
function answerSection(model) {
  const { findings, advice, claims, claims_title, caveats } = model.values;
  const [first, more] = [findings.slice(0, 3), findings.slice(3)];
  const verdicts = ["reproduced", "contradicted", "undecided", "not run", "not applicable"];
  const told = verdicts
    .map((verdict) => [claims.filter((each) => each.verdict === verdict).length, verdict])
    .filter(([count]) => count)
    .map(([count, verdict]) => `${count} ${verdict}`)
    .join(", ");
  const ranked = [...claims].sort((a, b) => verdicts.indexOf(a.verdict) - verdicts.indexOf(b.verdict));
  const columns = make(
    "div",
    { class: "columns" },
    make(
      "div",
      {},
      make("h2", {}, "What was found"),
      make(
        "ul",
        {},
        first.map((each) => findingItem(model, each)),
      ),
      more.length
        ? make(
            "details",
            {},
            make("summary", {}, `${more.length} more`),
            make(
              "ul",
              {},
              more.map((each) => findingItem(model, each)),
            ),
          )
        : null,
    ),
    make(
      "div",
      {},
      advice.length ? make("h2", {}, "What to do") : null,
      make(
        "ul",
        {},
        advice
          .slice(0, 3)
          .map((each) =>
            make("li", { class: `about-${each.about}` }, make("a", { href: hashOf(each.view) }, each.short)),
          ),
      ),
      advice.length ? allAdvice(advice) : null,
    ),
    make(
      "div",
      { class: "below" },
      claims.length
        ? make(
            "details",
            { id: "claims" },
            make("summary", {}, `${claims_title}: ${told}`),
            make(
              "ul",
              { class: "claims" },
              ranked.map((each) =>
                make(
                  "li",
                  {},
                  make("span", { class: `verdict ${each.verdict.split(" ")[0]}` }, each.verdict),
                  " ",
                  each.view ? make("a", { href: hashOf(each.view) }, each.claim) : each.claim,
                  make("p", { class: "soft" }, each.text, each.needed ? ` To decide it: ${each.needed}.` : ""),
                  each.command ? make("code", {}, each.command) : null,
                ),
              ),
            ),
          )
        : null,
      caveats.length
        ? make(
            "details",
            {},
            make("summary", {}, "Before you trust it"),
            make(
              "ul",
              {},
              caveats.map((each) => make("li", {}, each)),
            ),
          )
        : null,
    ),
  );
  columns.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    // The evidence comes into sight.
    if (link?.getAttribute("href")?.startsWith("#"))
      setTimeout(() => document.getElementById("views")?.scrollIntoView(), 0);
  });
  return make(
    "details",
    { class: "answer", id: "answer", open: true },
    make("summary", {}, "The answer: what was found, and what to do"),
    columns,
  );
}

/** @param {Model} model */
function skeleton(model) {
  const app = /** @type {HTMLElement} */ (document.getElementById("app"));
  app.replaceChildren(
    pageHead(model),
    make(
      "main",
      {},
      answerSection(model),
      make("nav", { class: "views", id: "views", "aria-label": "Views" }),
      make("section", { class: "controls", id: "controls", "aria-label": "What is shown" }),
      make(
        "div",
        { class: "stage", id: "stage" },
        make("section", { class: "figure", id: "figure", "aria-labelledby": "figure-title" }),
        make("aside", { class: "panel", id: "panel", "aria-label": "Images" }),
      ),
    ),
    make(
      "footer",
      { class: "soft" },
      `class-sensitivity ${model.values.version}; intervals cover ${model.values.coverage} %, marks have a false discovery rate of ${model.values.alpha}. Cells with fewer than ${model.values.minimum} images in the mean are not judged. Recipe ${model.values.recipe}.`,
    ),
    make("div", { id: "tip", role: "tooltip", hidden: true }),
    make("div", { id: "said", role: "status" }),
    make("dialog", {
      id: "image",
      "aria-labelledby": "image-title",
      close: () => go({ img: null }, { replace: true }),
      click: closeOutside,
    }),
    make(
      "dialog",
      { id: "keys", "aria-labelledby": "keys-title", click: closeOutside },
      make(
        "header",
        {},
        make("h2", { id: "keys-title" }, "Keys"),
        make(
          "button",
          {
            type: "button",
            class: "quiet close",
            "aria-label": "Close",
            click: (/** @type {Event} */ event) => /** @type {HTMLElement} */ (event.target).closest("dialog")?.close(),
          },
          "×",
        ),
      ),
      make(
        "dl",
        {},
        KEYS.flatMap(([key, what]) => [make("dt", {}, key), make("dd", {}, what)]),
      ),
    ),
  );
}

/** @param {MouseEvent} event */
function closeOutside(event) {
  if (event.target instanceof HTMLDialogElement) event.target.close();
}

let lastCell = "";
let lastView = "";
let lastShown = "";

/** Shows what the address says. @param {Model} model */
function show(model) {
  const state = parseState(model, location.hash);
  const part = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
  const focused = document.activeElement instanceof HTMLElement ? focusName(document.activeElement) : "";
  hideTip();
  // An image is enlarged over a page that stays as it is, and the focus goes back to its thumbnail.
  const shown = [hashWith({ img: null }), scheme(), player.timer].join();
  if (shown === lastShown) return showImage(model, state);
  lastShown = shown;
  part("views").replaceChildren(
    ...VIEWS.map((view) =>
      make(
        "a",
        {
          href: hashWith({ v: view, cell: null, tab: null, img: null }),
          "aria-current": view === state.v ? "page" : null,
          "data-view": view,
        },
        TITLES[view],
      ),
    ),
  );
  const [controls, figure, panel] = [part("controls"), part("figure"), part("panel")];
  const drawn = { matrix: matrixView, dose: doseView, side: sideView, class: classView, pair: pairView }[state.v];
  const grid = drawn(model, state, controls, figure);
  const hasPanel = grid !== undefined;
  // Nothing plays where nothing could stop it.
  if (!document.getElementById("play")) stopPlaying();
  // On other views the answer stands back; whoever opens it again there keeps it.
  if (state.v !== lastView && state.v !== "matrix") part("answer").removeAttribute("open");
  if (state.v !== lastView && state.v === "matrix" && lastView) part("answer").setAttribute("open", "");
  lastView = state.v;
  part("stage").className = `stage at-${state.v} ${hasPanel ? "" : "alone"}`;
  panel.hidden = !hasPanel;
  // While the dose plays or moves, the tab of images that is open stays open.
  if (grid) panel.replaceChildren(state.cell ? cellPanel(model, state, grid) : emptyPanel(model));
  showImage(model, state);
  document.title = `${document.getElementById("figure-title")?.textContent ?? TITLES[state.v]} – ${model.values.data}`;
  const cell = state.cell ? state.cell.join(".") : "";
  if (focused) /** @type {HTMLElement | null} */ (document.querySelector(focused))?.focus({ preventScroll: true });
  if (cell && cell !== lastCell && hasPanel) focusPanel();
  if (!cell && lastCell && state.v === "matrix")
    /** @type {HTMLElement | null} */ (document.querySelector("#figure td[tabindex='0']"))?.focus({
      preventScroll: true,
    });
  lastCell = cell;
}

/** A control that is made anew keeps the focus, by what it is. @param {HTMLElement} element */
function focusName(element) {
  if (element.closest("#figure td, dialog")) return "";
  if (element.id) return `#${CSS.escape(element.id)}`;
  const label = element.getAttribute("aria-label") ?? element.parentElement?.getAttribute("aria-label");
  if (element.dataset.view) return `[data-view="${element.dataset.view}"]`;
  if (element.dataset.value && label)
    return `[aria-label="${CSS.escape(label)}"] > [data-value="${element.dataset.value}"]`;
  return element instanceof HTMLSelectElement && label ? `select[aria-label="${CSS.escape(label)}"]` : "";
}

/** @param {KeyboardEvent} event */
function pageKey(event) {
  const typing = event.target instanceof Element && event.target.closest("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const dialog = document.querySelector("dialog[open]");
  if (event.key === "Escape" && !dialog) {
    const open = document.querySelector("details.drop[open]");
    if (open) open.removeAttribute("open");
    else go({ cell: null, tab: null });
    return;
  }
  if (dialog?.id === "image" && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
    const next = neighbour(event.key === "ArrowLeft" ? -1 : 1);
    if (next !== null) go({ img: next }, { replace: true });
    return;
  }
  if (typing || dialog) return;
  if (event.key === "?") showKeys();
  else if (event.key === "p") document.getElementById("play")?.click();
  else if (event.key === "[" || event.key === "]") {
    const slider = /** @type {HTMLInputElement | null} */ (document.getElementById("dose"));
    if (!slider) return;
    slider.value = String(Number(slider.value) + (event.key === "]" ? 1 : -1));
    slider.dispatchEvent(new Event("input"));
  } else if (/^[1-5]$/.test(event.key)) go({ v: VIEWS[Number(event.key) - 1], cell: null, tab: null, img: null });
  else return;
  event.preventDefault();
}

async function begin() {
  const model = await readModel();
  skeleton(model);
  if (!location.hash) history.replaceState(null, "", hashOf(model.values.start));
  show(model);
  for (const event of ["view", "hashchange"]) addEventListener(event, () => show(model));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(model));
  document.addEventListener("keydown", pageKey);
  document.addEventListener("click", (event) => {
    const drop = document.querySelector("details.drop[open]");
    if (drop && event.target instanceof Node && !drop.contains(event.target)) drop.removeAttribute("open");
  });
  document.documentElement.dataset.ready = "true";
  if (model.values.sprite) setTimeout(decodeAhead, 50);
}

begin();

"""Size, time and memory of the explorer: of the bundled digits, of a made study of 100 classes, and of given pages.

python benchmarks/explorer.py
python benchmarks/explorer.py --pages report/explorer.html --json explorer.json

Runs are made up, and so are the images but the digits'. Pages are written in processes of their own and opened in
Chromium, offline, at 1280 x 900 pixels, each time in a fresh context. The largest cell off the diagonal is clicked; its
time ends when its images are laid out and decoded. Memory is that of the process that shows the page.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from analysis import ROOT, in_a_process_of_its_own, machine
from table import GrowingTable, Row, row

# Nothing large is imported here: on Linux a child's peak memory is never less than its parent's.

#: Opens the largest cell off the diagonal, and waits until its images are painted.
CLICK = """async () => {
  const cells = [...document.querySelectorAll("#figure td[role=gridcell]:not(.diagonal)")];
  const size = cell => Math.abs(Number.parseFloat(cell.textContent.replace("−", "-")) || 0);
  const largest = cells.reduce((a, b) => size(b) > size(a) ? b : a);
  const begun = performance.now();
  largest.click();
  const frame = () => new Promise(done => requestAnimationFrame(done));
  await frame();
  const thumbnail = document.querySelector("#panel .thumbnail");
  const picture = new Image();
  picture.src = thumbnail.style.backgroundImage.slice(5, -2);
  await picture.decode();
  await frame();
  return [performance.now() - begun, document.querySelectorAll("#panel .thumbnail").length];
}"""


def write(kind: str, root: Path) -> dict[str, float]:
    """Writes the runs of a study and its explorer."""
    import sys

    sys.path.insert(0, str(ROOT / "tests"))  # the builders of the tests
    import numpy as np
    from PIL import Image
    from support.explorer import digits, subject_of, write_digits_study, write_page
    from support.synthetic import World, shares, write_study

    from class_sensitivity import BASELINE, Condition
    from class_sensitivity.config import register
    from class_sensitivity.data.arrays import ImageArrays

    register()
    if kind == "digits":
        arrays = digits()
        write_digits_study(root / "runs", seeds=(1, 2, 3, 4, 5))
    else:
        rng = np.random.default_rng(0)
        world = World(tuple(f"class {c:02d}" for c in range(100)), 100)
        recall, wrong = rng.uniform(0.4, 0.9, 100), rng.exponential(1, (100, 100)) ** 3
        plan = {BASELINE: shares(recall, wrong)}
        for level in (0.1, 0.2, 0.3):
            plan[Condition(noise_kind="shuffle", noise_frac=level)] = shares(recall - level * recall / 2, wrong)
            plan[Condition(reduction_frac=level)] = shares(recall - level * recall / 4, wrong)
        write_study(root / "runs", world, plan, (1, 2, 3, 4, 5))
        # Smooth, as photographs are: noise would be larger.
        coarse = [Image.fromarray(each) for each in rng.integers(0, 256, (11_000, 10, 10, 3), dtype=np.uint8)]
        images = np.stack([np.asarray(each.resize((32, 32), Image.Resampling.BICUBIC)) for each in coarse])
        train = np.repeat(np.arange(100), 10)
        arrays = ImageArrays(images[:1000], train, images[1000:], world.labels.astype(np.int64), world.class_names)
    subject = subject_of(root / "runs", arrays)
    begun = time.perf_counter()
    write_page(root / "page", subject)
    return {"write_s": time.perf_counter() - begun}


def opened(browser: Any, page_file: Path) -> tuple[float, float, float, float]:
    """Milliseconds until a page can be used and for a click, thumbnails that it showed, and megabytes."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    begun = time.perf_counter()
    page.goto(page_file.resolve().as_uri())
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    usable = 1000 * (time.perf_counter() - begun)
    first, thumbnails = page.evaluate(CLICK)
    session = browser.new_browser_cdp_session()
    pids = [
        each["id"] for each in session.send("SystemInfo.getProcessInfo")["processInfo"] if each["type"] == "renderer"
    ]
    megabytes = max((_resident(pid) for pid in pids), default=float("nan"))
    context.close()
    return usable, first, thumbnails, megabytes


def _resident(pid: int) -> float:
    """Megabytes of a process; only Linux tells."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS")), float("nan"))


def measure(name: str, page_file: Path, repeats: int) -> list[Row]:
    """Everything about one page."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    if found is None:
        raise SystemExit("There is no Chromium to open the page with; install Debian's package chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        opened(browser, page_file)  # the browser's own first time
        usable, click, thumbnails, megabytes = zip(*(opened(browser, page_file) for _ in range(repeats)), strict=True)
        browser.close()
    return [
        row(f"{name}: size of the page", "MB", [page_file.stat().st_size / 1e6]),
        row(f"{name}: until it can be used", "ms", usable),
        row(f"{name}: a click on its largest cell", "ms", click),
        row(f"{name}: thumbnails that the click shows", "", thumbnails[:1]),
        row(f"{name}: memory after the click", "MB", megabytes),
    ]


def main() -> None:
    """Measures, prints a table, and writes it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, nargs="*", default=[], metavar="PATH")
    parser.add_argument("--kinds", nargs="*", default=["digits", "100 classes"], choices=["digits", "100 classes"])
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--json", type=Path, metavar="PATH")
    parser.add_argument("--write", nargs=2, metavar=("KIND", "ROOT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        print(json.dumps(write(arguments.write[0], Path(arguments.write[1]))))
        return
    table = GrowingTable(machine())
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as scratch:
            _, peak, output = in_a_process_of_its_own([__file__, "--write", kind, scratch])
            table.show(
                [
                    row(f"{kind}: writing the page", "s", [json.loads(output)["write_s"]]),
                    row(f"{kind}: peak memory with the analysis", "MB", [peak]),
                ]
            )
            table.show(measure(kind, Path(scratch) / "page" / "explorer.html", arguments.repeats))
    for place in arguments.pages:
        table.show(measure(place.parent.name, place, arguments.repeats))
    if arguments.json:
        table.write(arguments.json)


if __name__ == "__main__":
    main()

"""What the explorer holds, without a browser: packed arrays, thumbnails, links from sentences, a page that is safe."""

import base64
import gzip
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from support.commands import ROOT
from support.explorer import DIGITS_PLAN, digits, stored, subject_of, write_page
from support.reports import WORLD, leave_unpictured, settings, words_of
from support.synthetic import THREE, World, shares, write_study

from class_sensitivity.analysis.advice import advise
from class_sensitivity.analysis.claims.evidence import noise, reduction
from class_sensitivity.analysis.sensitivity import analyse
from class_sensitivity.analysis.seriation import lookalike_order
from class_sensitivity.analysis.statistics import adjusted_p, benjamini_hochberg
from class_sensitivity.analysis.study import Study
from class_sensitivity.analysis.suspects import Suspect
from class_sensitivity.report import plan
from class_sensitivity.report.build import write_report
from class_sensitivity.report.explorer import page
from class_sensitivity.report.explorer.evidence import of_advice
from class_sensitivity.report.explorer.page import SCRIPTS, file_names, safe_json
from class_sensitivity.report.explorer.payload import Payload, payload_of
from class_sensitivity.report.explorer.thumbnails import (
    choose_test_images,
    choose_train_images,
    make_sprite,
    thumbnail_size,
)
from class_sensitivity.report.findings import findings
from class_sensitivity.report.inspection import advise_on_images
from class_sensitivity.runs.condition import BASELINE


@pytest.fixture(scope="module")
def payload(explored) -> Payload:
    return payload_of(explored)


def test_predictions_and_confidence_are_those_that_were_stored(explored_runs, payload, explored):
    files, study = stored(explored_runs), explored.results.study
    assert len(payload.values["runs"]) == len(files) == len(DIGITS_PLAN) * 3
    for place, (c, s) in enumerate(payload.values["runs"]):
        preds, sure = files[study.conditions[c].name, study.seeds[s]]
        assert payload.arrays["preds"][place].tolist() == preds.tolist()
        assert np.abs(payload.arrays["confidence"][place] / 255 - sure).max() <= 0.5 / 255 + 1e-9
        counts = np.zeros((10, 10), int)
        np.add.at(counts, (study.labels, preds), 1)
        assert (payload.arrays["counts"][place] == counts).all()


def test_cells_are_those_of_the_results(payload, explored):
    results = explored.results
    for place, each in enumerate(payload.values["comparisons"]):
        if each["kind"] != "baseline":
            continue
        matrix = results.compared[results.study.conditions[each["condition"]]].relative
        for name in ("value", "low", "high"):
            expected = getattr(matrix.cells, name).astype(np.float32)
            assert np.array_equal(payload.arrays[f"cell_{name}"][place], expected)
        flags = payload.arrays["cell_flags"][place]
        assert ((flags & 1 > 0) == matrix.judged).all()
        assert ((flags & 2 > 0) == matrix.marked).all()
        adjusted = payload.arrays["cell_p"][place].astype(float)
        assert (np.isnan(adjusted) == ~matrix.judged).all()
        assert ((adjusted <= results.alpha) == matrix.marked).all()


def test_what_is_compared_with_another_than_the_baseline_has_intervals_too(payload, explored):
    study = explored.results.study
    pairs = {
        (study.conditions[each["condition"]], study.conditions[each["other"]]): each["kind"]
        for each in payload.values["comparisons"]
    }
    assert pairs[noise(0.2), reduction(0.2)] == "misled"
    assert pairs[noise(0.1), BASELINE] == "baseline"
    # Of every noise the reduction that costs as much: of 30 % noise the larger one.
    equal = {study.conditions[each["noise"]]: study.conditions[each["reduction"]] for each in payload.values["equal"]}
    assert equal[noise(0.3)] == reduction(0.6)
    assert (noise(0.3), reduction(0.6)) in pairs


def test_a_p_value_is_adjusted_as_marks_are_made():
    p = np.array([[0.001, 0.02, np.nan], [0.04, 0.8, 0.011]])
    for alpha in (0.01, 0.03, 0.05, 0.9):
        assert (benjamini_hochberg(p, alpha) == (adjusted_p(p) <= alpha)).all()
    # By hand: 5 hypotheses, the smallest one times 5, the second smallest times 5 / 2.
    assert adjusted_p(p)[0, 0] == pytest.approx(0.005)
    assert adjusted_p(p)[1, 2] == pytest.approx(0.0275)


def test_every_sentence_leads_somewhere(payload, explored):
    sentences = [each.sentence for each in findings(explored.results)]
    assert [each["text"] for each in payload.values["findings"]] == sentences
    names = {condition.name for condition in explored.results.study.conditions}
    for each in payload.values["findings"]:
        assert each["view"]["v"] in ("matrix", "dose", "side", "class", "pair")
        assert each["view"].get("c", "baseline") in names
    views = {each["text"]: each["view"] for each in payload.values["findings"]}
    (least,) = (view for text, view in views.items() if text.startswith("Without stress"))
    assert least == {"v": "class", "k": "8"}
    (misled,) = (view for text, view in views.items() if "more because the model is misled" in text)
    assert misled["v"] == "side"
    assert (misled["c"], misled["b"]) == (noise(0.2).name, reduction(0.2).name)


def test_advice_on_single_images_leads_to_the_cell_of_most_suspects(explored):
    suspects = [
        Suspect(index, label, predicted, 0.9, 0.1) for index, label, predicted in ((4, 8, 1), (5, 3, 5), (9, 3, 5))
    ]
    study = explored.results.study
    (advice,) = advise_on_images(suspects, None, study.class_names)
    assert of_advice(advice, study)["view"] == {"v": "matrix", "c": "baseline", "cell": "3.5"}


def test_advice_leads_to_the_numbers_that_it_rests_on():
    labels = np.repeat([0, 1, 2], 300)
    plan = {  # (condition, seeds) -> recalls; levels of fewer seeds and of another kind are no evidence
        (BASELINE, 5): (0.95, 0.95, 1.0),
        (reduction(0.2), 5): (0.94, 0.94, 1.0),
        (noise(0.2), 5): (0.5, 0.7, 1.0),
        (reduction(0.4), 3): (0.93, 0.93, 1.0),
        (noise(0.4, "symmetric"), 3): (0.5, 0.5, 1.0),
    }
    rng = np.random.default_rng(0)
    runs = {
        (condition, seed): np.where(rng.random(900) < np.array(recalls)[labels], labels, 1 - labels % 2)
        for (condition, seeds), recalls in plan.items()
        for seed in range(seeds)
    }
    study = Study.of_preds(labels, runs, ("ant", "bee", "cow"))
    advice = advise(analyse(study, resamples=100))
    views = {each.about: of_advice(each, study)["view"] for each in advice}
    assert views["buy"] == {"v": "side", "c": noise(0.2).name, "b": reduction(0.2).name}
    assert views["labels"] == {"v": "class", "s": "shuffle", "k": "0"}
    assert views["cheap"] == {"v": "class", "s": "shuffle", "k": "2"}
    assert (views["undecided"]["v"], views["undecided"]["s"]) == ("class", "reduction")


def test_orders_are_those_of_the_results(payload, explored):
    orders, results = payload.values["orders"], explored.results
    assert orders["accuracy"] == np.argsort(results.baseline.recall.value, kind="stable").tolist()
    for name, curve in results.curves.items():
        assert orders["sensitive"][name][0] == int(np.argmin(curve.slope.value))
    assert sorted(orders["lookalike"]) == list(range(10))


def test_lookalikes_stand_side_by_side():
    counts = np.full((6, 6), 1)
    np.fill_diagonal(counts, 80)
    for i, j in ((0, 3), (1, 4), (2, 5)):
        counts[i, j] = counts[j, i] = 20
    order = lookalike_order(counts).tolist()
    for i, j in ((0, 3), (1, 4), (2, 5)):
        assert abs(order.index(i) - order.index(j)) == 1
    assert lookalike_order(np.array([[3, 1], [0, 0]])).tolist() == [0, 1]
    without = counts.copy()
    without[4] = 0  # a class without images
    assert sorted(lookalike_order(without).tolist()) == list(range(6))


# Images


def test_a_thumbnail_is_its_image(payload):
    sprite, images = payload.test, digits().test_images
    sheet = np.asarray(Image.open(io.BytesIO(sprite.jpeg)))
    assert sheet.ndim == 2, "grey stays grey"
    assert (sprite.width, sprite.height, sprite.pitch_x) == (8, 8, 8)
    for place in (0, 17, len(images) - 1):
        y, x = 8 * (place // sprite.columns), 8 * (place % sprite.columns)
        shown = sheet[y : y + 8, x : x + 8].astype(float)
        assert np.abs(shown - images[place, :, :, 0]).mean() < 6


def test_an_image_does_not_bleed_into_the_next():
    # 28 pixels are no whole blocks: a white image beside a black one stays white to its edge.
    images = np.zeros((2, 28, 28, 3), np.uint8)
    images[0] = 255
    sprite = make_sprite(images, np.array([0, 1]))
    assert sprite.pitch_x == 32
    sheet = np.asarray(Image.open(io.BytesIO(sprite.jpeg)))
    assert sheet[:28, :28].min() > 250
    assert sheet[:28, 32:60].max() < 5


def test_a_page_of_noise_does_not_grow_without_end(monkeypatch):
    from class_sensitivity.report.explorer import thumbnails

    images = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), np.uint8)
    best = len(make_sprite(images, np.arange(50)).jpeg)
    monkeypatch.setattr(thumbnails, "_MOST_BYTES", best // 2)
    assert len(make_sprite(images, np.arange(50)).jpeg) <= best // 2


def test_colours_are_not_subsampled(payload):
    sprite = make_sprite(np.zeros((4, 16, 16, 3), np.uint8), np.arange(4))
    image = Image.open(io.BytesIO(sprite.jpeg))
    assert image.mode == "RGB"
    assert {layer[1:3] for layer in image.layer} == {(1, 1)}


def test_small_images_are_all_there():
    labels = np.repeat(np.arange(10), 50)
    choice = choose_test_images(labels, np.tile(labels, (5, 1)), (32, 32, 3))
    assert choice.images.tolist() == list(range(500))
    assert choice.why == ""


def test_of_large_images_those_that_are_wrong_and_a_sample_are_shown():
    labels = np.repeat(np.arange(4), 500)
    preds = np.tile(labels, (3, 1))
    preds[0, 100] = preds[1, 700] = preds[2, 701] = 3
    choice = choose_test_images(labels, preds, (224, 160, 3))
    assert {100, 700, 701} <= set(choice.images.tolist())
    assert len(choice.images) < 200
    assert {int(labels[i]) for i in choice.images} == {0, 1, 2, 3}
    assert "34 x 48 pixels (of 160 x 224)" in choice.why
    assert "every one that some run got wrong" in choice.why
    assert thumbnail_size(224, 160) == (48, 34)


def test_of_very_many_images_those_that_most_runs_got_wrong_are_shown(monkeypatch):
    from class_sensitivity.report.explorer import thumbnails

    monkeypatch.setattr(thumbnails, "_MOST_PIXELS_IN_ALL", 32 * 32 * 60)
    labels = np.zeros(1000, np.int64)
    labels[500:] = 1
    preds = np.tile(labels, (3, 1))
    preds[:, 200:230] = 1  # wrong at every seed
    preds[0, 300:400] = 1
    choice = choose_test_images(labels, preds, (32, 32, 3))
    assert len(choice.images) == 60
    assert set(range(200, 212)) <= set(choice.images.tolist())
    assert "most runs did" in choice.why


def test_training_images_are_the_first_of_each_class():
    labels = np.array([0, 1, 1, 0, 2, 1])
    assert choose_train_images(labels, 3).tolist() == [0, 3, 1, 2, 5, 4]


# The page


def scripts_of(page: str) -> list[tuple[str, str]]:
    return re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)


def test_the_page_holds_what_was_packed(tmp_path, explored, payload):
    page = write_page(tmp_path, explored).read_text(encoding="utf-8")
    parts = {re.search(r'id="([\w-]+)"', head)[1]: body for head, body in scripts_of(page) if "id=" in head}
    values = json.loads(parts["values"])
    content = gzip.decompress(base64.b64decode(parts["packed"]))
    for name, array in payload.arrays.items():
        index = values["arrays"][name]
        assert index["shape"] == list(array.shape)
        assert index["offset"] % 4 == 0
        read = np.frombuffer(content, array.dtype, array.size, index["offset"])
        assert read.tobytes() == np.ascontiguousarray(array).tobytes()
    assert base64.b64decode(parts["test-images"]) == payload.test.jpeg


def test_the_page_names_its_script_and_style_by_their_hash_and_allows_nothing_else(tmp_path, explored):
    page = write_page(tmp_path, explored).read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"\son\w+=", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    for name in SCRIPTS:
        source = (ROOT / f"src/class_sensitivity/report/explorer/templates/{name}.js").read_text(encoding="utf-8")
        assert "innerHTML" not in source
        assert "eval(" not in source


def test_no_text_can_end_its_script():
    hostile = {"a": "</script><script>alert(1)</script>", "b": "<!-- <script>", "c": "\u2028\u2029 & ]]>"}
    text = safe_json(hostile)
    assert not re.search(r"[<>&\u2028\u2029]", text)
    assert json.loads(text) == hostile
    with pytest.raises(ValueError, match="not JSON compliant"):
        safe_json({"value": float("nan")})


def test_a_report_of_several_studies_has_one_explorer_for_each(tmp_path, monkeypatch):
    leave_unpictured(monkeypatch)
    plan = {BASELINE: shares([0.9, 0.8, 0.7])}
    write_study(tmp_path / "runs", WORLD, plan, (1, 2))
    write_study(tmp_path / "runs", replace(WORLD, model="lenet"), plan, (1, 2), model="lenet", model__options={})
    write_report(settings(tmp_path / "runs", tmp_path / "report"))
    names = sorted(path.name for path in (tmp_path / "report").glob("explorer*.html"))
    first, second = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == [f"explorer-{second}.html", "explorer.html"]
    assert f'"studies":[{{"name":"{first}"' in (tmp_path / "report" / names[0]).read_text(encoding="utf-8")
    index = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    for name in names:
        assert f'href="{name}"' in index
    # A report is replaced, its explorers too.
    write_report(settings(tmp_path / "runs", tmp_path / "report"))


def test_too_many_classes_have_no_explorer_and_the_report_says_so(tmp_path, monkeypatch, explored):
    leave_unpictured(monkeypatch)
    for module in (plan, page):
        monkeypatch.setattr(module, "MOST_CLASSES", 2)
    write_study(tmp_path / "runs", WORLD, {BASELINE: shares([0.9, 0.8, 0.7])}, (1, 2))
    write_report(settings(tmp_path / "runs", tmp_path / "report"))
    assert not list((tmp_path / "report").glob("explorer*"))
    assert "The explorer is missing: it shows 2 classes at most." in words_of(tmp_path / "report")
    assert file_names([explored.results.study]) == {}


def test_runs_whose_records_are_gone_have_no_confidence_and_a_page_all_the_same(tmp_path):
    root = write_study(tmp_path / "runs", World(THREE, 20), {BASELINE: shares([0.9, 0.8, 0.7])}, (1, 2))
    subject = subject_of(root)
    next(root.rglob("arrays.npz")).unlink()
    payload = payload_of(subject)
    assert "confidence" not in payload.arrays
    assert payload.test is None
    assert write_page(tmp_path / "report", subject).is_file()

"""Who may know whom, held by walking the imports; and every file under conf/ is composed and run."""

import ast
import math
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, ListConfig, OmegaConf
from support.commands import ROOT, SMALL
from support.sources import what_it_needs

from class_sensitivity.errors import ConfigError
from class_sensitivity.runs.directory import read_record
from class_sensitivity.runs.run import Run
from class_sensitivity.settings import DataSettings
from class_sensitivity.stress import NOISE_KINDS

SOURCE = ROOT / "src"
PACKAGE = SOURCE / "class_sensitivity"

#: What every room may know; of these, each knows those before it at most.
FOUNDATION = ("errors", "user_code", "seeding", "confusion", "machine", "stress", "settings")

#: Room -> the other rooms that it may know. A room is a module or a folder of the package.
MAY_KNOW = {
    "data": set(),
    "runs": {"data", "models"},  # for their digests
    "sweep": {"runs"},
    "config": set(),
    "command_line": {"config"},
    "recipe_words": set(),
    "training": {"data", "models", "runs", "figures"},
    "models": {"training"},  # a network may use training/onednn.py
    "analysis": {"runs"},
    "figures": {"runs", "analysis"},
    "report": {"data", "runs", "analysis", "figures"},
    "hydra_plugins": {"config", "runs", "sweep", "training", "report"},  # the report, for inspect=true
    "train.py": {"config", "command_line", "runs", "sweep", "training", "report"},
    "analyze.py": {"config", "command_line", "recipe_words", "report"},
}

_DOOR = ("config", "command_line", "recipe_words", "train.py", "analyze.py", "hydra_plugins")

#: Third-party package -> the modules and rooms that may know it. NumPy and the standard library are open to all.
KNOWN_TO = {
    "hydra": _DOOR,
    "omegaconf": _DOOR,
    "msgspec": ("runs.record", "data.importing", "data.inspection"),
    "filelock": ("runs.lease", "training"),
    "joblib": ("machine",),
    "torch": ("data.augment", "data.loader", "data.datamodule", "models", "training", "stress.noise.human"),
    "pytorch_lightning": ("data.datamodule", "training"),
    "torchmetrics": ("training.metrics",),
    "torchvision": ("data.sources", "models.torchvision"),
    "sklearn": ("data.sources", "data.lookalikes"),
    "scipy": ("analysis", "data.health"),
    "pandas": ("analysis", "report"),
    "xarray": ("analysis",),
    "matplotlib": ("figures", "report"),
    "jinja2": ("report",),
    "rich": ("sweep", "training.progress", "report", "data.importing"),
    "PIL": ("data.importing", "data.health", "report.explorer"),
    "cleanvision": ("data.health",),
}


def module_name(path: Path) -> str:
    """`data.sources.digits` inside the package; `train.py` and `hydra_plugins...` outside of it."""
    if path.is_relative_to(PACKAGE):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
    elif path.is_relative_to(SOURCE):
        parts = path.relative_to(SOURCE).with_suffix("").parts
    else:
        return path.name
    return ".".join(part for part in parts if part != "__init__") or "class_sensitivity"


FILES = {module_name(path): path for path in [*sorted(SOURCE.rglob("*.py")), ROOT / "train.py", ROOT / "analyze.py"]}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}


def room_of(module: str) -> str:
    """`data` of `data.sources`; a command is a room of its own."""
    return module if module.endswith(".py") else module.split(".", maxsplit=1)[0]


def imports(tree: ast.AST) -> Iterator[str]:
    """Every imported name in full, also where the import stands inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides which room it means"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def lies_in(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def modules_known(module: str) -> set[str]:
    """The modules of this repository that a module imports."""
    names = {name.removeprefix("class_sensitivity.") for name in imports(TREES[module])}
    # A package that holds the module is no module that it knows.
    return {name for name in names & set(FILES) if name != module and not module.startswith(f"{name}.")}


def reached_from(rooms: tuple[str, ...]) -> set[str]:
    """The modules that are imported by those of some rooms, or by what they import."""
    reached, new = set(), {module for module in FILES if room_of(module) in rooms}
    while new:
        reached |= new
        new = {known for module in new for known in modules_known(module)} - reached
    return reached


@pytest.mark.parametrize("module", FILES)
def test_a_third_party_package_is_known_to_its_rooms_alone(module):
    for name in imports(TREES[module]):
        package = name.split(".")[0]
        if package in sys.stdlib_module_names or package in ("numpy", "class_sensitivity", "hydra_plugins"):
            continue
        assert package in KNOWN_TO, f"{module} imports {package}: say here which rooms may"
        assert lies_in(module, KNOWN_TO[package]), f"{module} must not know {package}"


@pytest.mark.parametrize("module", [name for name in FILES if name != "class_sensitivity"])
def test_a_room_knows_only_the_rooms_that_it_may(module):
    room = room_of(module)
    known = {room_of(other) for other in modules_known(module)} - {room, "class_sensitivity"}
    if room in FOUNDATION:
        assert known <= set(FOUNDATION[: FOUNDATION.index(room)])
        return
    assert room in MAY_KNOW, f"{room} is a new room: say here which rooms it may know"
    assert known <= MAY_KNOW[room] | set(FOUNDATION)


def test_training_and_analysis_do_not_know_each_other_and_both_stand_on_runs():
    training, analysis = reached_from(("training", "models")), reached_from(("analysis", "figures", "report"))
    assert not {module for module in training if room_of(module) in ("analysis", "report")}
    assert not {module for module in analysis if room_of(module) == "training" or module.startswith("models.")}
    assert {"runs.directory", "runs.identity", "runs.record"} <= training & analysis
    for module in reached_from(("runs",)):
        # Of the networks the list, which knows no network before it is asked to build it.
        assert module == "models" or room_of(module) in (*FOUNDATION, "data", "runs"), module


def test_every_rule_is_about_something_that_exists():
    rooms = {room_of(module) for module in FILES}
    assert rooms == {*FOUNDATION, *MAY_KNOW, "class_sensitivity"}
    for package, places in KNOWN_TO.items():
        users = {module for module, tree in TREES.items() if package in {name.split(".")[0] for name in imports(tree)}}
        assert not [place for place in places if not any(lies_in(user, (place,)) for user in users)], package


def test_the_commands_are_one_call_into_the_package():
    for command in ("train.py", "analyze.py"):
        known = {room_of(module) for module in modules_known(command)}
        assert known - {*FOUNDATION, "class_sensitivity"} == MAY_KNOW[command]


def test_no_module_is_reached_from_itself():
    # Raises CycleError, which names the circle.
    order = TopologicalSorter({module: modules_known(module) for module in FILES}).static_order()
    assert len(list(order)) == len(FILES)


@pytest.mark.parametrize("module", FILES)
def test_nothing_is_imported_as_src_or_found_by_path_tricks(module):
    assert not [name for name in imports(TREES[module]) if name.split(".")[0] == "src"]
    if module == "user_code":  # a user's own module may lie in the current directory
        return
    tricks = [
        node
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute) and node.attr == "path" and getattr(node.value, "id", None) == "sys"
    ]
    assert not tricks


def test_no_module_is_a_drawer_for_what_has_no_room():
    words = {part for module in FILES for part in module.removesuffix(".py").split(".")}
    assert not words & {"utils", "util", "helpers", "helper", "common", "misc", "tools"}


@pytest.mark.parametrize("module", FILES)
def test_a_configuration_is_taken_apart_at_the_door_alone(module):
    taken_apart = [
        node.lineno
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", None) in ("config", "cfg", "settings")
    ]
    assert not taken_apart or room_of(module) in ("config", "hydra_plugins")


@pytest.mark.parametrize("module", [name for name in FILES if name != "runs.condition"])
def test_the_name_of_a_condition_is_made_in_one_place(module):
    texts = [node.value for node in ast.walk(TREES[module]) if isinstance(node, ast.Constant)]
    starts = ("reduction-0", *(f"noise-{kind}-" for kind in NOISE_KINDS))
    made = [
        text
        for text in texts
        if isinstance(text, str) and (text in ("noise-", "reduction-") or text.startswith(starts))
    ]
    assert not made


def test_starting_a_command_loads_nothing_heavy():
    # What an import pulls in is seen at run time only: a package's __init__ counts too.
    script = """
import importlib, sys
for name in sys.argv[2].split(","):
    importlib.import_module(f"class_sensitivity.{name}")
loaded = {name.split(".")[0] for name in sys.modules}
print(*sorted(loaded & set(sys.argv[1].split(","))))
"""
    training = "torch,torchvision,pytorch_lightning,sklearn"
    heavy = {
        f"{training},hydra,matplotlib,pandas": (*FOUNDATION, "runs", "sweep", "data.sources", "data.arrays"),
        f"{training},hydra": ("analysis", "figures", "report"),
        f"{training},matplotlib": ("config", "command_line"),
    }
    for packages, rooms in heavy.items():
        modules = [module for module in FILES if lies_in(module, rooms)]
        done = subprocess.run(
            [sys.executable, "-c", script, packages, ",".join(modules)], capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", ""), rooms


# conf/


def names_in(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def settings_in(node: DictConfig | ListConfig, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key in node:
        if OmegaConf.is_interpolation(node, key) or OmegaConf.is_missing(node, key):
            continue
        value = node[key]
        if isinstance(value, DictConfig):
            yield from settings_in(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", OmegaConf.to_object(value) if isinstance(value, ListConfig) else value


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in ("data", "model") for name in names_in(group)])
def test_what_a_file_under_conf_says_is_in_effect(group, name):
    path = ROOT / "conf" / group / f"{name}.yaml"
    prefix = "" if "@package _global_" in path.read_text().splitlines()[0] else f"{group}."
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose("train", overrides=[f"{group}={name}"])
    said = dict(settings_in(OmegaConf.load(path), prefix))
    assert said
    assert {key: OmegaConf.select(composed, key) for key in said} == said


def train_once(run: Run) -> None:
    from class_sensitivity.training.run import train_job

    record = read_record(train_job(run))
    assert record.steps >= 1
    assert record.metrics.accuracy >= 0


def needs_data(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.cifar10 if name == "cifar10" else ())


@pytest.mark.parametrize("name", [needs_data(name) for name in names_in("data")])
def test_every_data_set_can_be_trained_on(make_run, request, tmp_path, monkeypatch, name):
    if name == "cifar10":
        words = ["reduction.frac=0.99", f"data.dir={request.getfixturevalue('cifar10_dir')}", "data.download=false"]
    else:
        words = what_it_needs(name, tmp_path, monkeypatch)
    train_once(make_run(f"data={name}", "training.epochs=1", "training.test_every_epoch=false", *words))


#: What has to be said of a model that stands for many.
CHOSEN = {"torchvision": ["model.name=mobilenet_v3_small"], "module": ["model.module=support.networks:Tiny"]}


@pytest.mark.parametrize("name", names_in("model"))
def test_every_model_can_be_trained(make_run, name):
    small = ("training.epochs=1", "training.batch_size=128", "reduction.frac=0.8")
    train_once(make_run(f"model={name}", *CHOSEN.get(name, ()), *small))


@pytest.mark.parametrize("name", CHOSEN)
def test_a_model_that_stands_for_many_asks_which(make_run, name):
    (setting,) = CHOSEN[name]
    key = setting.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"^{key} has no value; give one with {key}=VALUE\.$"):
        make_run(f"model={name}")


def human_labels_of_digits(folder: Path) -> Path:
    """A file as CIFAR-10N's, in which every label is the next class."""
    import torch

    from class_sensitivity.data.sources import load_arrays

    labels = load_arrays(DataSettings("digits", None, False, False, 0)).train_labels
    columns = dict.fromkeys(["aggre_label", "random_label1", "worse_label"], (labels + 1) % 10)
    torch.save({"clean_label": labels, **columns}, folder / "human.pt")
    return folder / "human.pt"


@pytest.mark.slow
@pytest.mark.parametrize("name", names_in("experiment"))
def test_every_experiment_can_be_run(forked, tmp_path, name):
    # On the digits and with one seed: what varies is the experiment's, how large it is is not.
    needed = ["data.crop_padding=1"]  # so that the stream of augmentation is drawn from
    needed += [f"noise.file={human_labels_of_digits(tmp_path)}"] if name in ("human_noise", "cross_checks") else []
    needed += ["selection.stratified=true"] if name == "cross_checks" else []  # 2 % of them hold every class
    done = forked("-m", f"experiment={name}", *SMALL, "seed=1", *needed)
    assert (done.rc, done.stderr) == (0, "")
    sweeper = OmegaConf.load(ROOT / "conf" / "experiment" / f"{name}.yaml").hydra.sweeper
    settings = {str(key): str(values) for key, values in sweeper.get("params", {}).items()}
    settings |= dict(word.split("=", 1) for word in SMALL)  # what the command line says replaces the experiment's
    expected = 0
    for condition in sweeper.get("conditions", [""]):
        grid = settings | dict(word.split("=") for word in condition.split())
        expected += math.prod(len(values.split(",")) for key, values in grid.items() if key != "seed")
    assert len(done.results()) == expected

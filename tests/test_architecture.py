"""Who may know whom, held by walking the imports; and every file under conf/ is composed and run."""

import ast
import math
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, ListConfig, OmegaConf

SOURCE = ROOT / "src"
PACKAGE = SOURCE / "class_sensitivity"

#: Third-party package -> the modules that may know it. NumPy and the standard library are open to all.
KNOWN_TO = {
    "scipy": ("seeding", "confusion", "statistics", "stress", "claims", "report"),
    "torch": (
        "data.augment",
        "data.datamodule",
        "blocked",
        "models",
        "device",
        "ledger",
        "classifier",
        "preparation",
        "fitting",
        "stacked",
    ),
    "torchvision": ("data.sources",),
    "sklearn": ("data.sources",),
    "pytorch_lightning": (
        "classifier",
        "data.datamodule",
        "fitting",
        "recording",
        "training",
        "stacked",
        "screen",
    ),
    "filelock": ("lease", "training", "stacked.training"),
    "joblib": ("threads",),
    "torchmetrics": ("ledger",),
    "hydra": ("config", "command_line", "train.py", "analyze.py", "hydra_plugins"),
    "omegaconf": ("config", "command_line", "train.py", "analyze.py", "hydra_plugins"),
    "rich": ("screen", "sweep", "report"),
    "matplotlib": ("figures", "report"),
    "pandas": ("study", "sensitivity", "report"),
    "xarray": ("study", "sensitivity", "report"),
    "jinja2": ("report",),
}

#: Room -> the rooms it may know. A room is a module or a folder of the package.
MAY_KNOW = {
    "errors": set(),
    "seeding": set(),
    "confusion": set(),
    "statistics": set(),
    "stress": {"seeding", "confusion"},
    "identity": {"seeding"},
    "runs": {"errors", "identity", "confusion"},
    "threads": set(),
    "lease": {"errors", "runs"},
    "sweep": {"errors", "identity", "runs", "lease"},
    "config": {"errors", "stress", "threads"},
    "command_line": {"errors", "config"},
    # Training
    "data": {"errors", "seeding", "stress"},
    "blocked": set(),
    "models": {"errors", "blocked"},
    "device": {"errors", "threads"},
    "environment": {"device"},
    "ledger": {"errors"},
    "classifier": {"ledger"},
    "screen": {"runs"},
    "preparation": {"seeding", "identity", "data", "models", "device"},
    "fitting": {"errors", "device", "runs"},
    "recording": {"confusion", "identity", "runs", "environment", "ledger", "preparation", "figures"},
    "training": {
        "errors",
        "identity",
        "runs",
        "lease",
        "classifier",
        "preparation",
        "fitting",
        "recording",
        "screen",
    },
    "stacked": {
        "errors",
        "blocked",
        "identity",
        "runs",
        "lease",
        "data",
        "ledger",
        "classifier",
        "preparation",
        "fitting",
        "recording",
        "training",
        "screen",
    },
    # Analysis
    "study": {"errors", "identity", "runs", "confusion"},
    "sensitivity": {"statistics", "confusion", "study"},
    "claims": {"statistics", "confusion", "study", "sensitivity"},
    "figures": {"statistics", "confusion", "study", "sensitivity"},
    "report": {
        "errors",
        "confusion",
        "runs",
        "data",
        "statistics",
        "study",
        "sensitivity",
        "claims",
        "figures",
    },
}

#: Modules that may take a whole configuration apart.
UNPACK_THE_CONFIG = {"config", "identity", "preparation", "training", "stacked", "report", "sweep"}


def module_name(path: Path) -> str:
    """`data.sources.digits` inside the package; `train.py` and `hydra_plugins...` outside of it."""
    if path.is_relative_to(PACKAGE):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
    elif path.is_relative_to(SOURCE):
        parts = path.relative_to(SOURCE).with_suffix("").parts
    else:
        return path.name
    return ".".join(part for part in parts if part != "__init__") or "class_sensitivity"


FILES = {
    module_name(path): path
    for path in [*sorted(SOURCE.rglob("*.py")), ROOT / "train.py", ROOT / "analyze.py"]
    if path.is_file()
}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}


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


def rooms_known(tree: ast.AST) -> set[str]:
    inside = [name.split(".") for name in imports(tree) if name.startswith("class_sensitivity.")]
    # `from class_sensitivity import __version__` names no room.
    return {parts[1] for parts in inside if not parts[1].startswith("__")}


@pytest.mark.parametrize("module", FILES)
def test_a_third_party_package_is_known_to_its_rooms_alone(module):
    for name in imports(TREES[module]):
        package = name.split(".")[0]
        if package in sys.stdlib_module_names or package in ("numpy", "class_sensitivity"):
            continue
        assert package in KNOWN_TO, f"{module} imports {package}: say here which rooms may"
        assert lies_in(module, KNOWN_TO[package]), f"{module} must not know {package}"


@pytest.mark.parametrize(
    "module", [name for name in FILES if name not in ("class_sensitivity", "train.py", "analyze.py")]
)
def test_a_room_knows_only_the_rooms_below_it(module):
    room = module.split(".")[0]
    if room == "hydra_plugins":
        assert rooms_known(TREES[module]) <= {"errors", "config", "threads", "lease", "sweep", "stacked"}
        return
    assert room in MAY_KNOW, f"{room} is a new room: say here which rooms it may know"
    assert rooms_known(TREES[module]) - {room} <= MAY_KNOW[room]


def test_the_commands_are_one_call_into_the_package():
    calls = {"train.py": {"training", "sweep"}, "analyze.py": {"report"}}
    for command, rooms in calls.items():
        if command in TREES:
            assert rooms_known(TREES[command]) == {"config", "command_line"} | rooms


def test_no_room_is_reached_from_itself():
    known = {
        name: {
            other
            for other in (imported.removeprefix("class_sensitivity.") for imported in imports(tree))
            if other in FILES and other != name and not name.startswith(f"{other}.")
        }
        for name, tree in TREES.items()
    }
    # Raises CycleError, which names the circle.
    assert len(list(TopologicalSorter(known).static_order())) == len(FILES)


@pytest.mark.parametrize("module", FILES)
def test_nothing_is_imported_as_src_or_found_by_path_tricks(module):
    assert not [name for name in imports(TREES[module]) if name.split(".")[0] == "src"]
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
def test_only_a_few_modules_take_a_configuration_apart(module):
    taken_apart = [
        node.lineno
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", None) in ("config", "cfg")
    ]
    assert not taken_apart or module.split(".")[0] in UNPACK_THE_CONFIG | {"hydra_plugins"}


def test_starting_a_command_loads_nothing_heavy():
    # What an import pulls in is seen at run time only: a package's __init__ counts too.
    script = """
import importlib, sys
for name in sys.argv[2].split(","):
    importlib.import_module(f"class_sensitivity.{name}")
loaded = {name.split(".")[0] for name in sys.modules}
print(*sorted(loaded & set(sys.argv[1].split(","))))
"""
    heavy = {
        "torch,torchvision,pytorch_lightning,sklearn,hydra,matplotlib,pandas": [
            "seeding",
            "confusion",
            "stress",
            "identity",
            "runs",
            "lease",
            "sweep",
            "threads",
        ],
        "torch,torchvision,pytorch_lightning,sklearn,hydra": [
            room for room in ("statistics", "study", "sensitivity", "claims", "figures", "report") if room in FILES
        ],
        "torch,torchvision,pytorch_lightning,sklearn,matplotlib": ["config", "command_line"],
    }
    for packages, rooms in heavy.items():
        done = subprocess.run(
            [sys.executable, "-c", script, packages, ",".join(rooms)], capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", ""), rooms


# conf/


def names_in(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


def settings_in(node: DictConfig | ListConfig, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key in node:
        if OmegaConf.is_interpolation(node, key):
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


def run_once(config: dict) -> None:
    from class_sensitivity.runs import read
    from class_sensitivity.training import train_job

    record = read(train_job(config))
    assert record.steps >= 1
    assert record.metrics["accuracy"] >= 0


def needs_data(name: str) -> object:
    return pytest.param(name, marks=pytest.mark.cifar10 if name.startswith("cifar") else ())


@pytest.mark.parametrize("name", [needs_data(name) for name in names_in("data")])
def test_every_data_set_can_be_trained_on(make_config, request, name):
    own = ["reduction.frac=0.5"]
    if name.startswith("cifar"):
        own = ["reduction.frac=0.99", f"data.dir={request.getfixturevalue('cifar10_dir')}", "data.download=false"]
    run_once(make_config(f"data={name}", "training.epochs=1", "training.test_every_epoch=false", *own))


@pytest.mark.parametrize("name", names_in("model"))
def test_every_model_can_be_trained(make_config, name):
    run_once(make_config(f"model={name}", "training.epochs=1", "reduction.frac=0.5"))


@pytest.mark.parametrize("name", names_in("study"))
def test_every_study_can_be_run(command, name):
    # On the digits and with one seed: what varies is the study's, how large it is is not.
    small = ("data=digits", "training.epochs=1", "training.batch_size=128", "training.threads=1", "seed=1")
    done = command("-m", f"study={name}", *small)
    assert (done.rc, done.stderr) == (0, "")
    grid = OmegaConf.load(ROOT / "conf" / "study" / f"{name}.yaml").hydra.sweeper.params
    assert len(done.results()) == math.prod(
        len(str(values).split(",")) for key, values in grid.items() if key != "seed"
    )

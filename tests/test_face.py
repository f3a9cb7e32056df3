"""`import class_sensitivity as cs`: what a notebook needs, without waiting, and without a change to anything else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.plans import write_plan

import class_sensitivity as cs

SIX_LINES = """
import class_sensitivity as cs

study = cs.load_runs(ROOT)[0]
results = cs.analyse(study, resamples=100)
frame = results.relative(noise_kind="shuffle", noise_frac=0.2).to_pandas()
shown = frame.to_string()
"""


def run(script: str) -> str:
    """What a script prints in a process of its own, where every warning is an error."""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_six_lines_from_runs_to_a_table_without_torch(tmp_path):
    write_plan(tmp_path)
    printed = run(
        SIX_LINES.replace("ROOT", repr(str(tmp_path)))
        + "\nimport sys"
        + "\nassert 'pandas' in sys.modules"
        + "\nheavy = {'torch', 'torchvision', 'pytorch_lightning', 'matplotlib', 'hydra', 'omegaconf'}"
        + "\nassert not heavy & set(sys.modules), heavy & set(sys.modules)"
        + "\nprint(shown)"
    )
    header, _, *rows = printed.splitlines()
    assert header.split() == ["predicted", "ant", "bee", "cow"]
    assert [row.split()[0] for row in rows] == ["ant", "bee", "cow"]


def test_the_import_alone_loads_nothing():
    third_party = "{'numpy', 'scipy', 'pandas', 'xarray', 'torch', 'torchvision', 'pytorch_lightning', 'matplotlib'}"
    printed = run(
        "import sys, json\nbefore = set(sys.modules)\nimport class_sensitivity"
        f"\nassert not {third_party} & set(sys.modules)"
        "\nprint(json.dumps(sorted(n for n in set(sys.modules) - before if n.startswith('class_sensitivity'))))"
    )
    assert json.loads(printed) == ["class_sensitivity"]


@pytest.mark.parametrize("name", cs.__all__)
def test_every_name_of_the_face_is_there_and_listed(name):
    assert name in dir(cs)
    value = getattr(cs, name)
    if hasattr(value, "__module__") and isinstance(value, type):
        assert value.__name__ == name
    assert value is not None


def test_a_name_that_the_face_does_not_have_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'class_sensitivity' has no attribute 'analyze'"):
        cs.analyze  # noqa: B018


#: Third-party packages change settings of their own when they are imported, so all of them come first.
NOTHING_CHANGES = """
import importlib, logging, os, pkgutil, sys, warnings
import filelock, hydra, jinja2, joblib, matplotlib, matplotlib.figure, msgspec, netCDF4, omegaconf, pandas, pyarrow
import pytorch_lightning, rich, scipy.stats, sklearn.datasets, sklearn.model_selection, torch, torchmetrics, torchvision
import torch.utils.tensorboard, torchvision.datasets, xarray
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger

def state():
    return {
        "rcParams": dict(matplotlib.rcParams),
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "threads": torch.get_num_threads(),
        "level": logging.getLogger().level,
        "handlers": list(logging.getLogger().handlers),
        "excepthook": sys.excepthook,
    }

import class_sensitivity
before = state()
names = [module.name for module in pkgutil.walk_packages(class_sensitivity.__path__, "class_sensitivity.")]
for name in names:
    importlib.import_module(name)
    after = state()
    changed = [key for key in before if before[key] != after[key]]
    assert not changed, (name, changed)
print(len(names))
"""


@pytest.mark.slow
def test_importing_any_module_changes_nothing_global():
    package = Path(cs.__file__).parent
    modules = [path for path in package.rglob("*.py") if path != package / "__init__.py"]
    assert int(run(NOTHING_CHANGES)) == len(modules)

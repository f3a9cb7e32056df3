# make demo       a noise sweep, a reduction sweep and their report, on bundled data, offline
# make test       format, lint, types and the fast tests
# make test-slow  the slow tests: killed processes, damaged run directories, launchers, full disks
# make bench      images a second of training against other ways, fixed costs, memory, accuracy over time, scaling;
#                 a sweep by launcher, beside busy processes, its memory and its start; the analysis of 20, 200 and
#                 1,000 runs, and reports of 100 and 1,000 classes; the import of 10,000 and 100,000 image files; the
#                 explorer's size and speed; about an hour on 2 cores. CIFAR-10 comes from $CLASS_SENSITIVITY_DATA, else
#                 from data/; all values of the training: BENCH="--json training.json"
# make replicate  all that docs/replication.md rests on but the second study on another machine, trained from nothing: 319
#                 runs and their report; on 2 cores an estimated four hours, on one H200 the training took ten minutes, two
#                 sweeps at a time. It puts your records, tables and figures in the place of those in docs/replication/; with
#                 CIFAR10N=CIFAR-10_human.pt (docs/noise.md says where it is from) also the 48 that stand beside
#                 published numbers
# make lint       format, lint and types alone; of the explorer's JavaScript, too, where there is npm
# make clean      removes the environment, the runs and the report
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SCRIPTS := .ci/javascript

.PHONY: demo replicate lint lint-javascript test test-slow bench clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

demo: $(VENV)/.installed
	$(BIN)/python train.py -m experiment=demo data=digits
	$(BIN)/python analyze.py
	@echo
	@echo "The report:                     report/index.html"
	@echo "Curves and confusion matrices:  $(BIN)/tensorboard --logdir runs"

REPLICATION := build/replication
PACK := import sys; from pathlib import Path; from class_sensitivity.runs.packing import pack_runs; pack_runs(*map(Path, sys.argv[1:]))

replicate: $(VENV)/.installed
	$(BIN)/python train.py -m experiment=replication runs=$(REPLICATION)/runs
	$(BIN)/python train.py -m experiment=training_length runs=$(REPLICATION)/runs
	$(BIN)/python train.py -m experiment=model_dependence runs=$(REPLICATION)/runs
	$(BIN)/python train.py -m experiment=memorising runs=$(REPLICATION)/runs
	$(BIN)/python analyze.py runs=$(REPLICATION)/runs out=$(REPLICATION)/report
	rm -rf $(REPLICATION)/records
	$(BIN)/python -c '$(PACK)' $(REPLICATION)/runs $(REPLICATION)/records
	rm -rf docs/replication/records
	mv $(REPLICATION)/records docs/replication/records
ifdef CIFAR10N
	$(BIN)/python train.py -m experiment=cross_checks noise.file=$(CIFAR10N) runs=$(REPLICATION)/checks
	$(BIN)/python train.py -m model=resnet18 noise.kind=human noise.file=$(CIFAR10N) noise.column=aggre,random1,worse \
	  noise.frac=1 seed=1,2,3 runs=$(REPLICATION)/checks
	rm -rf $(REPLICATION)/records-checks
	$(BIN)/python -c '$(PACK)' $(REPLICATION)/checks $(REPLICATION)/records-checks
	rm -rf docs/replication/records-checks
	mv $(REPLICATION)/records-checks docs/replication/records-checks
endif
	$(BIN)/python docs/replication/build.py $(REPLICATION)/report

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@$(MAKE) --no-print-directory lint-javascript

# The package needs no node. Where there is npm, the script of report/explorer.html is checked, too.
lint-javascript:
	@if ! command -v npm >/dev/null; then echo "npm is not here: the explorer's JavaScript is not checked"; \
	elif [ $(SCRIPTS)/node_modules/.installed -nt $(SCRIPTS)/package.json ] || \
	  { npm --prefix $(SCRIPTS) install --no-package-lock --no-audit --no-fund --silent && touch $(SCRIPTS)/node_modules/.installed; }; \
	then npm --prefix $(SCRIPTS) run --silent check; \
	else echo "npm cannot install what checks the explorer's JavaScript: it is not checked"; fi

test: lint
	$(BIN)/pytest -n 2 -m "not slow"

test-slow: $(VENV)/.installed-dev
	$(BIN)/pytest -n 2 -m slow

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/training.py $(BENCH)
	$(BIN)/python benchmarks/sweeping.py
	$(BIN)/python benchmarks/analysis.py
	$(BIN)/python benchmarks/reporting.py
	$(BIN)/python benchmarks/importing.py
	$(BIN)/python benchmarks/explorer.py

clean:
	rm -rf $(VENV) runs report $(REPLICATION)

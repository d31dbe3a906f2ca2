# The four words. Everything is installed into .venv with plain pip; nothing outside this folder changes.
.PHONY: demo test lint docs

PYTHON ?= python3
BIN := .venv/bin
MEMBERS := $(sort $(wildcard packages/pb-*))

demo: .venv/.installed
	$(BIN)/pb bench --dataset pbmc --model baselines,scgen --hold-out all --preset quick --jobs 2 --out runs/demo

# One thread a process: the suite's matrices are small, and the numbers do not depend on the machine's core count. Files
# of tests are shared among processes, each file whole, since its fixtures can be costly (one is a Slurm). The pages are worked
# through by `make docs`.
SHARED := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PAGES := tests/test_walkthroughs.py tests/test_shown_commands.py
test: export OMP_NUM_THREADS ?= 1
test: export NUMBA_NUM_THREADS ?= 1
test: .venv/.installed
	$(BIN)/python -m pytest $(PAGES:%=--ignore %) $(SHARED) --benchmark-disable

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(MEMBERS:%=%/src)

# Every link leads somewhere, every command runs, every example prints what is shown, pages made from the code are up to
# date; then the site, whose warnings are errors.
docs: export OMP_NUM_THREADS ?= 1
docs: export NUMBA_NUM_THREADS ?= 1
docs: .venv/.installed
	$(BIN)/python -m pytest $(SHARED) $(PAGES) tests/test_docs.py tests/test_reference.py
	$(BIN)/sphinx-build -W --keep-going -q -c docs . docs/_build

.venv/.installed: constraints.txt pyproject.toml VERSION $(MEMBERS:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "pb needs Python 3.11 or newer, and $(PYTHON) is %d.%d: run make PYTHON=python3.11 (or newer) instead." % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(BIN)/python -m pip install --constraint constraints.txt --group dev $(MEMBERS:%=--editable %)
	@touch $@

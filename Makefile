# Two commands do everything: `make demo` and `make test`. All install what they need into .venv, once: the demo the
# package alone, everything else what developers need as well.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGE := $(VENV)/package-installed
INSTALLED := $(VENV)/installed
CONSTRAINTS ?= constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NO_MKDOCS_2_WARNING := 1

.PHONY: demo test test-lowest test-track dist docs notebooks install lint types unit faults audit clean

demo: $(PACKAGE)  ## run a loop that fades and one that copies, say what was seen, and open their pages where there is a display
	$(BIN)/entropick run digits --arms replace replace+greedy accumulate-subsample accumulate+greedy --open
	$(BIN)/entropick run copies --open

test: lint types unit  ## what has to pass before a merge

test-lowest: install  ## the tests with the lowest versions that pyproject.toml allows
	PYTHON="$(PYTHON)" tools/test-lowest $(BIN)/uv .venv-lowest -n 2

test-track: install  ## the tests of trackers with the real Trackio, which takes no Pillow as new as the pinned one
	tools/test-track $(BIN)/python .venv-track

dist: install  ## what is released, into dist/, tried in empty environments
	$(BIN)/python tools/make_dist.py

docs: install  ## the documentation site, into site/
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo "The site is in site/: open site/index.html, or, for its search, python3 -m http.server --directory site"

notebooks: install  ## execute the tutorials, and keep what they show
	$(BIN)/python -m nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False \
		--ExecutePreprocessor.coalesce_streams=True docs/tutorials/*.ipynb

install: $(INSTALLED)

$(PACKAGE): pyproject.toml $(CONSTRAINTS) tools/make-venv
	PYTHON="$(PYTHON)" tools/make-venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable .
	touch $@

$(INSTALLED): $(PACKAGE) tools/fit_torchvision.py
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	$(BIN)/python tools/fit_torchvision.py
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

# All of it takes a day. EVERY=100 takes a hundredth of the tries, and MINUTES=25 stops after so long.
faults: install  ## commands on failing disks, in dying processes, through power cuts; prints a table, writes faults.md
	nice -n 10 $(BIN)/python tests/faults/sweep.py --table faults.md --every $(or $(EVERY),1) \
		$(if $(MINUTES),--minutes $(MINUTES))

audit: install  ## licences of what runs with the package, and known weaknesses, for which it asks the network
	$(BIN)/python tools/audit.py

clean:
	rm -rf $(VENV) .venv-lowest .venv-track runs site dist .pytest_cache .mypy_cache .ruff_cache

# Two commands do everything: `make demo` and `make test`. Both install what they need into .venv, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test install lint types unit clean

demo: install  ## run the digits study and say where its page is
	$(BIN)/entropick run digits

test: lint types unit  ## everything that CI checks

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt tools/make-venv tools/fit_torchvision.py
	PYTHON="$(PYTHON)" tools/make-venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python tools/fit_torchvision.py
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

unit: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache

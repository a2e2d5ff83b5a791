# Everything a newcomer needs: `make demo` and `make test`. Both make their own virtual environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= phantom
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint install install-dev clean help

help:
	@echo "make demo [DATA=phantom|hippocampus]   train, evaluate, predict, and write demo/report.html"
	@echo "make test                              lint and all tests"
	@echo "make lint                              ruff and mypy"

$(VENV)/installed: pyproject.toml
	@echo "Installing medtl-monai with torch and torchvision into $(VENV): a few minutes, once"
	@$(PYTHON) -c "import sys; sys.exit('Python 3.10 or newer is needed, this is ' + sys.version) if sys.version_info < (3, 10) else 0"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing the tools of the tests"
	@$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

demo: install
	@$(BIN)/medtl demo --data $(DATA) --output demo

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 -q

clean:
	rm -rf $(VENV) demo

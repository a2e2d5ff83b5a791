# Everything a newcomer needs: `make demo` and `make test`. Both make their own virtual environment in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= phantom
LABEL := .venv-label
SLICER := .venv-slicer
DEPLOY := .venv-deploy
STUDIES ?=
PORT ?= 8000
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint install install-dev label-demo test-label test-deploy clean help

help:
	@echo "make demo [DATA=phantom|hippocampus]   train, evaluate, predict, and write demo/report.html"
	@echo "make test                              lint and all tests"
	@echo "make lint                              ruff and mypy"
	@echo "make label-demo [STUDIES=DIR] [PORT=]  a MONAI Label server for 3D Slicer, with the hippocampus bundle"
	@echo "make test-label                        the tests with a real MONAI Label server and 3D Slicer's core"
	@echo "make test-deploy                       the tests with MONAI Deploy's App SDK"

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

$(LABEL)/installed: pyproject.toml medtl_monai/label/install.py
	@echo "Installing medtl-monai and MONAI Label into $(LABEL): a few minutes, once"
	@$(PYTHON) -m venv $(LABEL)
	@$(LABEL)/bin/python -m pip install --quiet --editable .
	@$(LABEL)/bin/python -m medtl_monai.label.install
	@touch $@

$(SLICER)/installed:
	@echo "Installing 3D Slicer's core into $(SLICER): 1.3 GB, once"
	@$(PYTHON) -m venv $(SLICER)
	@$(SLICER)/bin/python -m pip install --quiet slicer-core==5.12.4
	@touch $@

label-demo: $(LABEL)/installed
	@$(LABEL)/bin/medtl label --app label-demo/app --studies $(or $(STUDIES),label-demo/studies) --port $(PORT) \
	    --bundle bundles/hippocampus_mri_segmentation --uncertainty $(if $(STUDIES),,--phantoms 8)

test-label: install-dev $(LABEL)/installed $(SLICER)/installed
	MEDTL_LABEL_PYTHON=$(CURDIR)/$(LABEL)/bin/python MEDTL_SLICER_PYTHON=$(CURDIR)/$(SLICER)/bin/python \
	    $(BIN)/python -m pytest -q tests/label

$(DEPLOY)/installed: pyproject.toml
	@echo "Installing medtl-monai and MONAI Deploy's App SDK into $(DEPLOY): a few minutes, once"
	@$(PYTHON) -m venv $(DEPLOY)
	@$(DEPLOY)/bin/python -m pip install --quiet --editable . monai-deploy-app-sdk==4.0.0 "highdicom>=0.28" "pytest>=8.0"
	@touch $@

test-deploy: $(DEPLOY)/installed
	MEDTL_DEPLOY_PYTHON=$(CURDIR)/$(DEPLOY)/bin/python $(DEPLOY)/bin/python -m pytest -q tests/deploy

clean:
	rm -rf $(VENV) $(LABEL) $(SLICER) $(DEPLOY) demo label-demo

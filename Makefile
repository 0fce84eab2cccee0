# make demo    a bare machine: environment, headless install, the main job on the sample movie
# make test    a bare machine: environment, all that GUI tests need, every check and every test
#
# TORCH chooses the torch build installed first, for example TORCH="torch==2.8.0" or
# TORCH="torch --index-url https://download.pytorch.org/whl/cpu"; pip's own PIP_CONSTRAINT works too.
# PYTHON chooses the interpreter, VENV the environment's folder.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
TORCH ?=
bin := $(VENV)/bin
pip := $(bin)/python -m pip install --quiet --disable-pip-version-check

# Debian packages that Qt's windows and napari's canvas need on a machine without a desktop.
GUI_PACKAGES := xvfb xauth fontconfig libdbus-1-3 libegl1 libfontconfig1 libgl1 libgl1-mesa-dri libglib2.0-0 libopengl0 \
  libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 \
  libxcb-xfixes0 libxcb-xinerama0 libxkbcommon-x11-0
sudo = $(if $(filter 0,$(shell id -u)),,sudo)
screen = $(if $(shell command -v xvfb-run),xvfb-run -a,)
pytest = $(bin)/python -m pytest -n 2 --dist loadfile

.PHONY: help setup demo check test test-engine test-gui bench docs screenshots gallery clean gui-packages

help:
	@echo "make demo | test | setup | check | test-engine | test-gui | bench | docs | screenshots | gallery | clean"

# ------------------------------------------------------------------------------------------ environment
# Debian splits venv off python3; without it `python3 -m venv` fails and python3-venv is fetched first.
$(bin)/python:
	$(PYTHON) -c "import ensurepip" 2>/dev/null || { $(sudo) apt-get update -qq; $(sudo) apt-get install -y -qq python3-venv >/dev/null; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.engine: pyproject.toml | $(bin)/python
	$(pip) --upgrade "pip>=25.1"
	$(if $(TORCH),$(pip) $(TORCH))
	$(pip) --editable .
	touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.engine
	$(pip) --editable . --group dev
	touch $@

setup: $(VENV)/.dev gui-packages

gui-packages:
	@if command -v dpkg-query apt-get >/dev/null; then \
	  missing=$$(for p in $(GUI_PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q "ok installed" || echo $$p; done); \
	  if [ -n "$$missing" ]; then \
	    $(sudo) apt-get update -qq; \
	    $(sudo) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  fi; \
	fi

# ------------------------------------------------------------------------------------------------- use
demo: $(VENV)/.engine
	$(bin)/denoisereg demo

# ---------------------------------------------------------------------------------------------- checks
check: $(VENV)/.dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports

# Every test but those for a GPU; then the GUI tests once more on the other Qt binding.
test: $(VENV)/.dev gui-packages check docs
	QT_API=pyqt6 $(screen) $(pytest)
	QT_API=pyside6 $(screen) $(pytest) -m "gui and not gpu"

# Works in an environment without napari and Qt.
test-engine: $(VENV)/.engine
	$(pip) --editable . --group test
	$(pytest) --ignore tests/widgets -m "not gui and not gpu"

test-gui: $(VENV)/.dev gui-packages
	QT_API=pyqt6 $(screen) $(pytest) -m "gui and not gpu"
	QT_API=pyside6 $(screen) $(pytest) -m "gui and not gpu"

bench: $(VENV)/.dev
	$(pip) --editable ".[bench]"
	$(bin)/python benchmarks/quality/table.py
	$(bin)/python benchmarks/quality/denoising.py

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict --quiet

screenshots: $(VENV)/.dev gui-packages
	QT_API=pyqt6 $(screen) $(bin)/python docs/make_screenshots.py

gallery: $(VENV)/.dev
	$(bin)/python docs/make_gallery.py

clean:
	rm -rf $(VENV) site build dist demo-output .coverage htmlcov .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks

# make app    install into .venv (first time only) and open the app, which brings its published target meanwhile
# make check  install into .venv (first time only) and run linters, types, contracts and the fast tests: for every change
# make test   the same with every test
#
# torch comes from wherever pip is told to look; for a CPU-only build on Linux set PIP_INDEX_URL or
# PIP_EXTRA_INDEX_URL to the index that has it.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin

# The first interpreter that is new enough and can make environments.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; \
	done)

.PHONY: app check test lint format recordings clean
.DELETE_ON_ERROR:

app: $(VENV)/.installed
	@$(BIN)/fastdraft-app --download

# The mathematics, what is shown of it, and where everything lies; nothing here starts a process or trains.
FAST := tests/decoding tests/results tests/machine tests/app/theme tests/app/widgets tests/app/test_app_text.py \
	tests/app/test_import_lightness.py tests/test_documents.py tests/test_files.py tests/test_places.py

# A file of tests stays in one process, which has a core for itself.
SHARED := --numprocesses 2 --dist loadfile
test: export OMP_NUM_THREADS := 1

check: lint
	$(BIN)/pytest $(FAST)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	# Training has processes of its own: after OpenVINO in the same one, a training test ended in a segmentation fault.
	$(BIN)/pytest $(SHARED) tests/training
	$(BIN)/pytest $(SHARED) --ignore=tests/training

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What the app plays while its first models load: with a draft that pays, when sampling, and one that does not pay.
recordings: $(VENV)/.installed
	$(BIN)/fastdraft record demo --draft demo:S --preset 'read config' --gamma 4 --length 96 \
		--output assets/recordings/1-code-greedy.jsonl
	$(BIN)/fastdraft record demo --draft demo:S --preset 'function arguments' --gamma 3 --temperature 0.6 --length 112 \
		--runtime torch --output assets/recordings/2-text-sampled.jsonl
	$(BIN)/fastdraft record demo --draft demo:XS --preset 'stack class' --gamma 8 --temperature 1 --length 72 \
		--output assets/recordings/3-code-slower.jsonl

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# Editable: a change in the checkout needs no new install, only one in pyproject.toml does.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "fastdraft needs Python 3.11 or newer with venv; found none. Set PYTHON=/path/to/python3."; exit 1; }
	$(PYTHON) -m venv $(VENV)

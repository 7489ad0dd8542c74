# `make demo` to see it, `make test` to check it. Everything is installed below this folder.
PYTHON ?= python3
BIN := .venv/bin
REFERENCE := .venv-reference
LOCK := requirements/maskloop.lock

.PHONY: help install weights label-studio demo demo-check serve lint test bench clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: .venv/installed ## make .venv with the locked versions

.venv/installed: pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "The locked versions are for Python 3.11 to 3.13: make install PYTHON=...")'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "Python cannot make virtual environments here: on Debian, apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -c $(LOCK) -e '.[openvino,postgres,test]'
	@touch $@

weights: install ## fetch and verify the official weights
	$(BIN)/maskloop weights fetch

label-studio: install ## install Label Studio in an environment of its own
	$(BIN)/maskloop demo --install-only

demo: weights ## Label Studio with masks, on this machine
	$(BIN)/maskloop demo

demo-check: weights ## the same without a person: one line a step, exit 0 if all held
	$(BIN)/maskloop demo --check

serve: weights ## the backend alone, for a Label Studio that you have
	$(BIN)/maskloop serve

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: weights label-studio lint ## everything: linters, types, tests
	$(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder

$(REFERENCE)/installed: requirements/reference.lock
	$(PYTHON) -m venv $(REFERENCE)
	$(REFERENCE)/bin/pip install --disable-pip-version-check -c $< mobilesam-mirror timm torchvision opencv-python-headless label-studio-sdk
	@touch $@

bench: weights $(REFERENCE)/installed ## measure against the official code, side by side
	$(BIN)/maskloop bench --reference-python $(REFERENCE)/bin/python

clean: ## remove what was installed; weights and the demo's data stay
	rm -rf .venv .venv-*

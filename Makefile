# What a contributor types and what CI runs: the same targets. `make` alone prints them.
# Needs Python >= 3.11 and make; every target does its own set-up.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

BIN := .venv/bin
MEMBERS := core/src operator/src predictor/src trainer/src
# Arguments to pass on: make demo DEMO_ARGS="--json out.json", make fast PYTEST_ARGS="-k gate", make lock LOCK_ARGS="--upgrade"
DEMO_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
LOCK_ARGS ?=
IMAGES_ARGS ?=

# Two at a time, a file at a time: a file's tests share what they set up. Measured, and beside others that start
# processes of their own, a unit test gets more than its two seconds.
PROCESSES ?= 2
WORKERS := --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --timeout 20

# Every process here loads the same libraries: without their cached bytecode each start compiles them again, 14 s for a trainer.
unexport PYTHONDONTWRITEBYTECODE

# pyright runs on the node and the sources of its wheels: nothing is fetched while it checks.
export PYRIGHT_PYTHON_GLOBAL_NODE := 0
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help
help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z0-9-]*:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make .venv from the locks, fetching uv if there is none (a second run takes a moment)
	@bash scripts/setup.sh

.PHONY: demo
demo: setup ## Train, prove, release, answer and roll back on this machine (DEMO_ARGS="--json FILE")
	@$(BIN)/graft demo $(DEMO_ARGS)

.PHONY: test
test: programs ## Run the whole suite, with the coverage gate
	@rm -rf .cache/coverage
	$(BIN)/python -m pytest $(WORKERS) -m "not bench" --cov --cov-report=term --durations=15 $(PYTEST_ARGS)

.PHONY: fast
fast: setup ## Run the unit tests only (under a minute)
	$(BIN)/python -m pytest -m "not slow and not e2e and not bench and not cluster" $(PYTEST_ARGS)

.PHONY: controlplane
controlplane: programs ## Run only the tests that need a real kube-apiserver or S3 server
	$(BIN)/python -m pytest $(WORKERS) -m cluster --durations=15 $(PYTEST_ARGS)

.PHONY: programs
programs: setup ## Build kube-apiserver, etcd, Helm and an S3 server from Go modules, once: minutes the first time
	@$(BIN)/python -m tests.cluster programs

.PHONY: cluster-up
cluster-up: setup ## Start a Kubernetes of one node in a network namespace of its own (Linux, root)
	@$(BIN)/python -m tests.cluster up

.PHONY: cluster-down
cluster-down: setup ## Stop it, or clear what a crash left of it
	@$(BIN)/python -m tests.cluster down

.PHONY: e2e
e2e: setup ## Run the tests on that node, from start to stop, or on the cluster that KUBECONFIG names
	@$(BIN)/python -m tests.cluster e2e $(PYTEST_ARGS)

.PHONY: images
images: ## Build the three images with Docker, Podman or Buildah (IMAGES_ARGS="--local-base operator")
	@bash scripts/images.sh $(IMAGES_ARGS)

.PHONY: test-all
test-all: ## test with 10,000 event schedules instead of 2,000, 500 frozen leaders instead of 20, and every death in a rollout
	@GRAFT_TEST_SCHEDULES=5000 GRAFT_TEST_TRIALS=500 $(MAKE) test

.PHONY: check
check: lint types generated ## Lint, types and generated files in step: what a commit must pass beside test

.PHONY: lint
lint: setup ## ruff, import-linter, pydoclint, yamllint, codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/check_docstrings.py $(MEMBERS)
	$(BIN)/yamllint --strict .
	$(BIN)/codespell

.PHONY: types
types: mypy pyright ## mypy and pyright, both strict

.PHONY: mypy
mypy: setup ## mypy alone
	$(BIN)/mypy

.PHONY: pyright
pyright: setup ## pyright alone
	$(BIN)/pyright

.PHONY: generated
generated: setup ## Check that every generated file is what its source says
	@$(BIN)/python scripts/generated.py --check

.PHONY: generate
generate: setup ## Write every generated file: CRDs, samples, reference pages
	@$(BIN)/python scripts/generated.py --write

.PHONY: renders
renders: programs ## Render the chart again: golden renders, install.yaml, kustomize's base
	@$(BIN)/python -m tests.delivery.rendering

.PHONY: verify
verify: generate ## Generate, then fail if git sees a difference
	@git diff --exit-code

.PHONY: fmt
fmt: setup ## Format, and mend what ruff can mend
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: lock
lock: ## Resolve dependencies and write requirements/*.txt (LOCK_ARGS="--upgrade-package torch")
	@bash scripts/lock.sh $(LOCK_ARGS)

.PHONY: ratchet
ratchet: setup ## Write down today's counts of long files, ignores and skips; they may only fall
	@$(BIN)/python -m tests.house.ratchet --write

.PHONY: bench-core
bench-core: setup ## Measure decide, render, dataset check, gateway, idle cost; JSON in tests/bench/out
	$(BIN)/python -m tests.bench.core $(BENCH_ARGS)

.PHONY: bench-operator
bench-operator: setup ## Measure the operator on a real API server (BENCH_ARGS="--smoke"); JSON in tests/bench/out
	$(BIN)/python -m tests.bench.bench_operator $(BENCH_ARGS)

.PHONY: bench-gpu
bench-gpu: setup ## Measure LoRA SFT tokens/s on a GPU beside a plain HF Trainer; JSON in tests/bench/out
	$(BIN)/python -m tests.bench.bench_gpu $(BENCH_ARGS)

.PHONY: changelog
changelog: ## Print what the next release will say
	@awk '/^## /{on = /Unreleased/} on' CHANGELOG.md

.PHONY: clean
clean: ## Remove caches and builds; keeps .venv and .graft (the state of graft up)
	@rm -rf .cache/coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis htmlcov dist tests/bench/out
	@find core operator predictor trainer tests scripts examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# HearthNet: two commands matter, `make run` and `make test`. `make help` lists the rest.
# the first Python that runs and is new enough; else python3, so that bootstrap.py can say what is wrong
PY ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help run setup test check fmt lint type arch e2e bench bench-mesh bench-retrieval docs docs-check demo coverage fuzz soak lock clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-16s %s\n",$$1,$$2}'

run: setup ## install what is needed and start the node
	@$(BIN)/hearthnet run

setup: ## install and fetch the models, without starting
	@command -v $(PY) >/dev/null || { echo "Python 3.11 or newer is needed, there is none. Run: sudo apt-get install python3 python3-venv"; exit 2; }
	@$(PY) edge/bootstrap.py run

$(VENV)/.dev: pyproject.toml edge/requirements/dev.txt edge/bootstrap.py edge/bootstrap_console.py
	@$(PY) edge/bootstrap.py dev

test: $(VENV)/.dev ## all tests but browser, fuzz and soak
	@$(BIN)/python -m pytest -q -m "not slow and not e2e"

check: $(VENV)/.dev lint type arch docs-check ## what CI runs first

fmt: $(VENV)/.dev ## format the code
	@$(BIN)/ruff format edge tests docs && $(BIN)/ruff check --fix-only -q edge tests docs

lint: $(VENV)/.dev ## ruff: style, bugs, complexity
	@$(BIN)/ruff format --check -q edge tests docs && $(BIN)/ruff check -q edge tests docs

type: $(VENV)/.dev ## mypy --strict
	@$(BIN)/mypy

arch: $(VENV)/.dev ## import contracts
	@PYTHONPATH=edge $(BIN)/lint-imports

e2e: $(VENV)/.dev ## pages in headless Chromium: axe, keyboard, screenshots
	@$(BIN)/python -m pytest -q -m e2e tests/e2e --timeout 300 -n 0

test-slow: $(VENV)/.dev ## long fault proofs: 200 kills of store, log and ingest
	@$(BIN)/python -m pytest -q -m slow --timeout 900

coverage: $(VENV)/.dev ## branch coverage of wire/ by its own tests; 100 % is the rule
	@PYTHONPATH=edge $(BIN)/python -m coverage run --branch --source=edge/hearthnet/wire -m pytest -q -n 0 tests/wire tests/vectors
	@$(BIN)/python -m coverage report -m --skip-covered --fail-under=100

fuzz: $(VENV)/.dev ## coverage-guided fuzzing of every decoder for 60 s (atheris)
	@$(BIN)/python tests/fuzz/fuzz_decoders.py -max_total_time=60

bench: $(VENV)/.dev ## all figures of docs/benchmarks.md, each beside its alternative
	@for script in bus events blobs engine openai node; do $(BIN)/python tests/bench/bench_$$script.py || exit 1; done

bench-mesh: $(VENV)/.dev ## figures between nodes: calls, and sync where its bench is
	@missed=0; for script in transport mesh; do file=tests/bench/bench_$$script.py; [ ! -e $$file ] || $(BIN)/python $$file || missed=1; done; exit $$missed

bench-retrieval: $(VENV)/.dev ## retrieval and refusal figures (needs debian-reference by apt)
	@$(BIN)/python tests/bench/bench_retrieval.py

docs: $(VENV)/.dev ## write the generated reference pages
	@PYTHONPATH=edge $(BIN)/python docs/generate.py

docs-check: $(VENV)/.dev ## fail when the reference pages are stale
	@PYTHONPATH=edge $(BIN)/python docs/generate.py --check

demo: setup ## ask three questions on the command line of a node of its own
	@sh docs/examples/demo.sh

lock: ## rewrite the hash locks (needs uv)
	uv pip compile pyproject.toml --extra llm --extra embed --universal --python-version 3.11 --generate-hashes --no-header --no-emit-package pip -q -o edge/requirements/run.txt
	uv pip compile pyproject.toml --extra llm --extra embed --extra dev --universal --python-version 3.11 --generate-hashes --no-header --no-emit-package pip -q -o edge/requirements/dev.txt

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One virtual environment with every extra; every target makes or refreshes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: bench chaos demo explore lint lock mutants serve simulate test venv

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "keyturn needs Python 3.11 or newer; set PYTHON=python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

venv: $(STAMP)

demo: venv
	$(BIN)/keyturn demo $(if $(ARGS),$(ARGS),--scenario all --backend all)

test: venv
	$(BIN)/python -m pytest -n 3 --dist worksteal -m 'not long' --cov --cov-report=term-missing:skip-covered $(ARGS)

bench: venv
	$(BIN)/python -m benchmarks.evidence --out benchmarks/out $(ARGS)
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.fleet

explore: venv
	$(BIN)/python -m tests.explorer $(if $(ARGS),$(ARGS),--events 2 --seconds 600)

chaos: venv
	$(BIN)/python -m tests.chaos $(if $(ARGS),$(ARGS),all)

mutants: venv
	$(BIN)/python -m tests.mutants $(ARGS)

simulate: venv
	$(BIN)/keyturn simulate $(if $(ARGS),$(ARGS),--seconds 120)

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

serve: venv
	$(BIN)/keyturn serve --config config/example.yaml

lock:
	test -x $(BIN)/uv || $(MAKE) venv
	$(BIN)/uv pip compile pyproject.toml --all-extras --python-version 3.11 --universal --generate-hashes --no-header --no-annotate --quiet --upgrade -o requirements.lock

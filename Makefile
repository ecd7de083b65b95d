# Fresh clone to first map: `make demo`. Fresh clone to green tests: `make test`. Both make what they need and say so.
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PAGE := server/page
DEMO_ARGS ?=
TRY_ARGS ?=
# A third process on two cores: a fifth of the time is spent in waiting for processes that were killed, stores and browsers.
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder
export PYTHONUNBUFFERED := 1

.PHONY: help try try-deploy demo test test-all docs lint audit format setup browser lock clean
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# Three sizes of one environment, each part of the next: what serves, what makes the demo, what the tests need.
# uv installs them where it is, pip elsewhere; uv is told where pip finds wheels on this machine.
define install
	@echo "== packages of $(1) in $(VENV)"
	@if command -v uv >/dev/null; then \
	  [ -x $(BIN)/python ] || uv venv --quiet --seed --python $(PYTHON) $(VENV); \
	  links=$$($(PYTHON) -m pip config get global.find-links 2>/dev/null); \
	  uv pip install --quiet --python $(BIN)/python $${links:+--find-links $$links} --requirement $(1) \
	  && uv pip install --quiet --python $(BIN)/python --no-deps --editable .; \
	else \
	  [ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV); \
	  $(BIN)/python -m pip install -qq --no-compile --upgrade pip \
	  && $(BIN)/python -m pip install -qq --no-compile --requirement $(1) \
	  && $(BIN)/python -m pip install -qq --no-deps --editable .; \
	fi
	@touch $@
endef

$(VENV)/.serve: requirements-serve.lock pyproject.toml
	$(call install,$<)

$(VENV)/.demo: requirements-demo.lock pyproject.toml
	$(call install,$<)
	@touch $(VENV)/.serve

$(VENV)/.all: requirements.lock pyproject.toml
	$(call install,$<)
	@touch $(VENV)/.serve $(VENV)/.demo

$(PAGE)/.ready: $(PAGE)/package-lock.json
	@if command -v npm >/dev/null; then echo "== map library for the page"; \
	  cd $(PAGE) && npm ci --no-audit --no-fund --loglevel=error; \
	  else echo "== no npm here: the page takes its map library from a CDN"; fi
	@touch $@

$(PAGE)/dist/.ready: $(PAGE)/.ready $(PAGE)/build.mjs $(PAGE)/index.html $(wildcard $(PAGE)/js/*.js) $(wildcard $(PAGE)/css/*.css)
	@if command -v npm >/dev/null; then cd $(PAGE) && npm run --silent build; else mkdir -p $(@D); fi
	@touch $@

setup: $(VENV)/.all $(PAGE)/dist/.ready ## virtual environment with everything, map library

browser: ## Chromium for the tests of the page, nginx for those of the proxy (installed by apt where that is allowed)
	@missing=""; command -v chromium >/dev/null || missing="chromium"; \
	  { command -v nginx || [ -x /usr/sbin/nginx ]; } >/dev/null || missing="$$missing nginx-light"; \
	  if [ -z "$$missing" ]; then :; \
	  elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then echo "== $$missing for the tests"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	  else echo "== no $$missing here and no permission to install it: its tests will be skipped"; fi

# A cube that is in the cache needs the server alone; making it needs the packages of the demo.
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' floracube.py)-$(shell sed -n 's/^FORMAT: Final = \([0-9]*\).*/\1/p' cube/storage/store.py)
try: $(PAGE)/dist/.ready ## a finished small cube on the map: downloaded from FLORACUBE_TRY_URL, or made once, then cached
	@if [ -n "$$FLORACUBE_TRY_URL" ] || [ -d "$${XDG_CACHE_HOME:-$$HOME/.cache}/floracube/demo-10km-$(VERSION)" ]; \
	  then $(MAKE) --no-print-directory $(VENV)/.serve; else $(MAKE) --no-print-directory $(VENV)/.demo; fi
	$(BIN)/floracube try $(TRY_ARGS)

try-deploy: setup ## images, compose file and Kubernetes files by podman, with the demo (root and Debian; 25 minutes)
	deploy/try.sh

demo: $(VENV)/.demo $(PAGE)/dist/.ready ## a generated landscape from sources to a served map
	$(BIN)/floracube demo --out demo-out $(DEMO_ARGS)

test: setup browser ## the quick tests, in minutes
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-all: setup browser ## all tests: also journeys, kills, hosts, notebooks
	$(BIN)/python -m pytest $(PYTEST_ARGS)

docs: setup ## the documentation as a site, in site/
	$(BIN)/python -m docs.make.site site

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

lock: ## pin anew what pyproject.toml asks for: requirements*.lock, and images in deploy/images (needs uv; TORCH_CPU=FOLDER)
	@sed 's,^torch==\([0-9.]*\)$$,torch==\1+cpu,' requirements.lock > requirements.lock.new
	$(PIN) --extra dev pyproject.toml --output-file requirements.lock.new
	$(PIN) --extra server --extra fast pyproject.toml --constraint requirements.lock.new --output-file requirements-serve.lock
	$(PIN) --extra build --extra inference --extra server --extra fast pyproject.toml --constraint requirements.lock.new \
	  --output-file requirements-demo.lock
	@sed 's,+cpu$$,,' requirements.lock.new > requirements.lock && rm requirements.lock.new
	@sed -i 's,+cpu$$,,' requirements-demo.lock
	deploy/images/lock.sh
PIN = uv pip compile --quiet --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-emit-index-url --no-header \
  --no-annotate $(if $(TORCH_CPU),--find-links $(TORCH_CPU))

clean: ## remove what make made
	rm -rf $(VENV) $(PAGE)/node_modules $(PAGE)/dist $(PAGE)/.ready demo-out

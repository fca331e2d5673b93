# Everything runs in .venv, which is made from requirements.lock. `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
VENV := .venv/installed

# A digest of what is in files: a rebuild is due when contents change, not when a checkout touches them.
digest = $(shell find $(1) -type f ! -path '*/.*' ! -path '*.egg-info/*' ! -path '*/__pycache__/*' \
	| LC_ALL=C sort | xargs cksum | cksum | cut -d' ' -f1)
CODE := src data_download requirements.lock
CACHE := _build/.jupyter_cache/.code-$(call digest,$(CODE))
SITE := _build/html/.site-$(call digest,$(CODE) book _config.yml _toc.yml)

.PHONY: help book test notebooks bench lint clean lock data

help:  ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1|\2/p' Makefile | while IFS='|' read -r target what; do \
		printf '%-16s%s\n' "$$target" "$$what"; done

book: $(SITE)  ## build the book: the environment, the data, every notebook, the pages
	@echo "Open $(CURDIR)/_build/html/index.html"

test: $(SITE)  ## run every test: the package, the notebooks, the built pages
	$(BIN)/python -m pytest tests src book -n 2 --dist loadfile --doctest-modules \
		--nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg \
		--cov=confseg --cov-config=pyproject.toml --cov-report=term:skip-covered --cov-fail-under=95

notebooks: $(VENV) data  ## run the notebooks and store their text outputs, without pictures
	$(BIN)/python book/_tools/notebooks.py book/*.ipynb

bench: $(VENV)  ## measure the speed of the package
	$(BIN)/python benchmarks/run.py

lint: $(VENV)  ## check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:  ## remove what was built and cached; .venv stays
	rm -rf _build build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

lock:  ## renew requirements.lock from pyproject.toml; for maintainers, needs uv
	uv pip compile pyproject.toml --group dev --upgrade --universal --python-version 3.11 \
		--fork-strategy fewest --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links -q -o requirements.lock

data: $(VENV)
	$(BIN)/python -m data_download lidc

$(VENV): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit( \
		"confseg needs Python 3.11 to 3.13, and $(PYTHON) is " + v + ". Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# What the notebooks printed is kept for as long as the code, the data and the lock are the same.
$(CACHE): $(VENV)
	rm -rf _build/.jupyter_cache
	@mkdir -p $(@D) && touch $@

# The pages are always built from nothing: an incremental build passes over failures of the one before.
$(SITE): $(VENV) $(CACHE) | data
	rm -rf _build/html _build/.doctrees
	$(BIN)/jupyter-book build . -W -n --keep-going
	@touch $@

# `make` lists the commands. Those that need it make .venv first and install the package into it;
# the install is done again only when pyproject.toml has changed.
#   PYTHON=python3.12 make book    chooses the interpreter that .venv is made from
# Without make (Windows, or your own environment): the same commands stand in README.md.

INSTALLED := .venv/.installed
PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help book site notebooks test install clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: $(INSTALLED) ## Run every chapter in _build and build the site from there
	$(PY) tools/book.py run

site: $(INSTALLED) ## Build the site from the committed outputs
	$(PY) tools/book.py build

notebooks: $(INSTALLED) ## Run every notebook as a test
	$(PY) -m pytest --nbval book/ -n logical --no-loadscope-reorder # the long chapters come first

test: export OMP_NUM_THREADS = 1 # pytest has a worker for each core
test: $(INSTALLED) ## Lint, unit tests, broken formulas, every notebook, strict site
	$(PY) -m ruff check
	$(PY) -m pytest -W error -n logical
	$(PY) tools/mutations.py
	$(MAKE) --jobs 2 notebooks site

install: $(INSTALLED) ## Make .venv and install the package with everything it can use

$(INSTALLED): pyproject.toml tools/install.sh
	@sh tools/install.sh
	@touch $@

clean: ## Remove what was built (.venv stays; delete it by hand)
	rm -rf _build build dist .pytest_cache .hypothesis .ruff_cache .coverage
	find tssbn tests tools book -name __pycache__ -prune -exec rm -rf {} +

# What a contributor needs; CONTRIBUTING.md says more. `make PYTHON=.venv/bin/python all` takes the
# tools of an environment that is not activated.
PYTHON ?= python3

.PHONY: all venv test check format docs clean

all: check test docs

venv:  ## .venv with everything that the other targets need
	python3 -m venv .venv
	.venv/bin/pip install -e '.[dev,docs]'

test:  ## the tests; `make test ARGS=--slow` takes the slow ones too
	$(PYTHON) -m pytest -n auto --dist loadfile $(ARGS)

check:  ## linter, formatter, types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

format:  ## what `check` would ask for, done
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

# The variable stills a notice of mkdocs-material about its successor.
docs:  ## the site, in site/; the reference pages are made from the code first
	PYTHONPATH=. $(PYTHON) docs/generate.py
	PYTHONPATH=.:docs NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

clean:
	rm -rf site docs/reference

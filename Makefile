# Two commands set everything up: `make demo` and `make test`. They need Python 3.11+, pip and make.
PYTHON3 ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: demo test check golden wheel clean

demo: .venv/core $(if $(TORCH),.venv/torch)
	$(BIN)/optimizing-resources demo $(if $(PYTHON),--python $(PYTHON))

test: .venv/test
	$(BIN)/python -m pytest -q

check: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	ln -sfn "$(CURDIR)" .venv/types/optimizing_resources
	MYPYPATH=.venv/types $(BIN)/mypy --explicit-package-bases -p optimizing_resources.server -p optimizing_resources.tools

golden: .venv/test
	$(BIN)/python -m pytest -q --update-golden

wheel: .venv/test
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf .venv build dist *.egg-info

.venv/bin/python:
	$(PYTHON3) -m venv .venv

.venv/core: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e .
	touch $@

.venv/torch: .venv/core
	$(PIP) -e '.[torch]'
	touch $@

.venv/test: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[test]'
	mkdir -p .venv/types
	touch .venv/core $@

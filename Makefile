# `make demo` and `make test` are all a newcomer needs: python3 and a package index, nothing else.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test lint gate format bench constraints clean

demo: $(INSTALLED)
	$(BIN)/xlir-bench run --task mini --output results

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The project gates itself, and its leaderboards are those of its stored results.
gate: $(INSTALLED)
	$(BIN)/xlir-bench gate --baseline leaderboards/baselines/builtin-ngram/mini --candidate builtin:ngram
	$(BIN)/xlir-bench leaderboard --results leaderboards/results --html --check

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks

# What CI tests with. Run after a dependency was added or raised, then run the tests.
constraints: $(INSTALLED)
	$(BIN)/python -m pip freeze --exclude-editable --exclude xlir-bench \
		| sed 's/+cpu$$//; s/ @ .*//' > constraints.txt

# The stamp makes the second call install nothing; a changed dependency installs again.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist results

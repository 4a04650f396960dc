# `make` lists the targets. Each of them sets everything up first: .venv/ in this folder.

# The first Python that really starts (a pyenv shim may exist and not work).
ifndef PYTHON
PYTHON := $(shell for name in python3.11 python3; do \
	$$name -c '' >/dev/null 2>&1 && echo $$name && break; done)
endif

# Without GPU operators nothing may run on the GPU either.
ifneq ($(filter-out 0,$(MMASVIT_CPU_ONLY)),)
export CUDA_VISIBLE_DEVICES :=
endif
# These would make .venv/bin/python import other people's packages.
unexport PYTHONPATH PYTHONHOME

.PHONY: help set-up demo quick test soak bench clean

help:
	@echo 'make demo     train a detector on generated data, score it, make a page of it'
	@echo 'make demo DATA=folder    the same on your own images in COCO format'
	@echo 'make quick    run the tests but for the slow ones'
	@echo 'make test     run all tests'
	@echo 'make bench    run the benchmarks'
	@echo 'make soak     kill runs and misuse tools for half an hour (MINUTES=30)'
	@echo 'make set-up   only install everything into .venv/ (the others do it by themselves)'
	@echo 'make clean    remove build leftovers; .venv/ and work_dirs/ stay'
	@echo
	@echo 'PYTHON=...          the Python 3.11 that .venv/ is made from'
	@echo 'MMASVIT_CPU_ONLY=1  leave the GPU alone: no nvcc needed'

set-up:
	@'$(PYTHON)' -c '' 2>/dev/null || { echo 'set-up: no working Python 3$(PYTHON:%= at %):' \
		'install Python 3.11, or name one: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	@'$(PYTHON)' scripts/set_up.py

demo: set-up
	@.venv/bin/python scripts/demo.py $(if $(DATA),'$(DATA)')

PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest tests -p no:cacheprovider -q \
	-n 2 --dist worksteal --durations=15

quick: set-up
	@$(PYTEST) -m 'not slow'

test: set-up
	@$(PYTEST)

soak: set-up
	@OMP_NUM_THREADS=1 .venv/bin/python tests/endurance/soak.py --minutes $(or $(MINUTES),30)

bench: set-up
	@for script in benchmarks/*.py; do .venv/bin/python "$$script" || exit; done

clean:
	rm -rf build dist mmasvit.egg-info .pytest_cache
	find . \( -path ./.venv -o -path ./data -o -path ./work_dirs \) -prune \
		-o -name __pycache__ -prune -exec rm -rf {} +

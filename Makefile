# Everything is installed into .venv; the only needs are Python 3.11 or newer, pip, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DIST := dist
# What has another hash than its pin is refused; bioprobe itself, which has none, is not.
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --verify-hashes \
	--constraint constraints.txt

# Without bytecode torch would be compiled by the first process, by each where it may not be
# written. What libraries test themselves by is imported by nobody, and takes a quarter of the time.
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib

# Else each process would compile anew what is edited here.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long test-portable check format wheel bench bench-quick docs notebooks picture pins licences audit clean

help: ## Show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

setup: $(READY) ## Install bioprobe and what developing it needs

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\]$$/p' constraints.txt | \
		$(BIN)/python -m pip install --quiet --require-hashes --requirement /dev/stdin
	$(INSTALL) --build-constraint constraints.txt --editable '.[onnx]' --group dev
# A file that is not of this Python stops nothing.
	$(COMPILE) || true
	touch $@

demo: $(READY) ## Embed, label, search and show drawn pictures, offline
	$(BIN)/bioprobe demo --output demo

# Memory is the quickest disk, where it has room: what a test wrote goes when it has passed.
IN_MEMORY := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 4000000 {print "yes"}')

# A worker a processor, of one thread each: the threads of two would wait for each other.
# Bytecode is kept, or each command that is a process of its own would compile bioprobe anew.
test: $(READY) ## Run every test
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(if $(IN_MEMORY),PYTEST_DEBUG_TEMPROOT=/dev/shm) \
		$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal \
		$(if $(IN_MEMORY),-o tmp_path_retention_policy=failed)

test-long: $(READY) ## Run the tests that are left out because a shorter one shows the same
	BIOPROBE_LONG=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long

# What may differ in the last digits, or more, by processor.
NUMERICAL := $(addprefix tests/,calibration evaluation index learning probes quality splits task zeroshot)
# As on a processor that knows no more than AVX2, where products in bf16 are emulated.
AVX2 := ATEN_CPU_CAPABILITY=avx2 FAISS_SIMD_LEVEL=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
	NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" ONEDNN_MAX_CPU_ISA=AVX2 \
	OPENBLAS_CORETYPE=Haswell

test-portable: $(READY) ## Run the numerical tests as on other processors
	$(AVX2) $(BIN)/python -m pytest -W ignore::ImportWarning $(NUMERICAL)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not shared" $(NUMERICAL)

# Where a machine is very busy the workers of mypy give up before they have begun: then it works alone.
check: $(READY) ## Lint, format, types and docstrings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy || { [ $$? -ne 1 ] && $(BIN)/mypy --num-workers 0; }

format: $(READY) ## Rewrite the code in the house format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

wheel: $(READY) ## Build the wheel into dist
	$(BIN)/python -m hatchling build -t wheel -d $(DIST)

# Goes on where it was ended; ONLY="serve start" measures some parts and leaves the others.
bench: $(READY) ## Measure speed against what one would otherwise run; writes benchmarks/RESULTS.md
	$(INSTALL) --group bench
	$(BIN)/python -m benchmarks.results $(if $(ONLY),--only $(ONLY))

bench-quick: $(READY) ## The same at small sizes, in minutes
	$(INSTALL) --group bench
	$(BIN)/python -m benchmarks.results --quick $(if $(ONLY),--only $(ONLY))

docs: $(READY) ## Make the site of the docs; ends with the page to open
	$(INSTALL) --group docs
	$(BIN)/python -m sphinx --fail-on-warning --quiet --builder html docs docs/_site
	@echo "file://$(CURDIR)/docs/_site/index.html"

notebooks: $(READY) ## Open the notebooks in JupyterLab
	$(INSTALL) --editable '.[onnx,notebook]'
	$(BIN)/python -m jupyter lab notebooks

picture: $(READY) ## Take the picture of the report that the README shows, by Chromium
	$(BIN)/python -m scripts.picture_report docs/report.png

pins: $(READY) ## Write the hashes of every pinned version anew
	$(BIN)/python -m scripts.pins

licences: $(READY) ## List the licence of every pinned package anew
	$(INSTALL) --group bench --group docs --editable '.[onnx,notebook,cluster,map,ray,remote]' editables
	$(BIN)/python -m scripts.licences

audit: $(READY) ## Ask which pinned versions have known vulnerabilities
	$(BIN)/python -m scripts.audit

clean: ## Remove the virtual environment and what the tools cached
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist demo docs/_site

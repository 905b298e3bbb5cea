# Needs Python 3.10 to 3.13 and pip; everything else is installed into .venv by the first target run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo test test-slow test-gpu test-browser test-cluster test-newest test-oldest \
  wheel lint schemas settings files bench clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.10 to 3.13 is needed, this is $$($(PYTHON) --version); choose: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): PyTorch is several GB, this takes a few minutes."
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# A whole search on a data set inside the package: minutes on two cores, no GPU, no download.
demo: $(INSTALLED)
	rm -rf runs/demo
	$(BIN)/fastgan-ray tune --config demo

# Two processes; the tests of a file share what it sets up, so they stay together.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Whole searches: killed and resumed, out of memory, on a full disk, with several workers, and killed
# at random moments (tests/test_chaos.py). Half an hour on two cores; needs nothing else.
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow -s tests

# The report in a real browser, and screenshots of it: see tests/browser.
test-browser: $(INSTALLED)
	$(BIN)/python -m pytest -m browser tests/browser

# On a machine with a GPU: every device that there is against float64 on the CPU, and then the
# measurements of benchmarks/gpu.py.
test-gpu: $(INSTALLED)
	$(BIN)/python -m pytest -ra tests/test_devices.py tests/test_pretended_device.py
	$(BIN)/python benchmarks/gpu.py

# A real `ray up` of two machines that are this one (see tests/cluster), and what test-slow does.
test-cluster: $(INSTALLED)
	$(BIN)/python -m pytest -m 'cluster or slow' -s tests

# The suite with the newest, and the oldest, versions that pyproject.toml allows, each in an
# environment of its own that is made again every time: several GB, and an hour on two cores.
test-newest:
	$(PYTHON) -m venv --clear $(VENV)-newest
	$(VENV)-newest/bin/pip install --quiet --upgrade --upgrade-strategy eager -e '.[dev]'
	$(VENV)-newest/bin/python -m pytest -n 2 --dist loadfile

# uv finds out which versions are the oldest; pip installs them. Needs Python 3.10 to 3.12.
test-oldest:
	$(PYTHON) -m venv --clear $(VENV)-oldest
	$(VENV)-oldest/bin/pip install --quiet uv
	$(VENV)-oldest/bin/uv pip compile --quiet --resolution lowest-direct --extra dev \
	  --python $(VENV)-oldest/bin/python --output-file $(VENV)-oldest/oldest.txt pyproject.toml
	$(VENV)-oldest/bin/pip install --quiet --requirement $(VENV)-oldest/oldest.txt
	$(VENV)-oldest/bin/pip install --quiet --no-deps -e .
	$(VENV)-oldest/bin/python -m pytest -n 2 --dist loadfile

# A wheel in dist/, an environment of its own with nothing else in it, and there the first trial of
# the demonstration (see tests/wheel). Several GB, and five minutes on two cores.
wheel: $(INSTALLED)
	rm -rf dist
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv --clear $(VENV)-wheel
	$(VENV)-wheel/bin/pip install --quiet --disable-pip-version-check dist/*.whl
	$(BIN)/python -m pytest -m wheel tests/wheel

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# The JSON schemas that editors use, after a change of a setting or of a key of our files.
schemas: $(INSTALLED)
	$(BIN)/fastgan-ray schema search > search_spaces/schema.json
	$(BIN)/fastgan-ray schema ablation > search_spaces/schema_ablation.json
	$(BIN)/fastgan-ray schema run > search_spaces/schema_run.json

# The list of all settings in docs/settings.md, after a change of a setting.
settings: $(INSTALLED)
	$(BIN)/python docs/list_settings.py

# The list of all files in CONTRIBUTING.md, after a file is added, renamed or has another purpose.
files:
	python3 docs/list_files.py

# One thread: CPU time then compares, whatever else the machine does.
bench: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/metrics.py

clean:
	rm -rf $(VENV) $(VENV)-newest $(VENV)-oldest $(VENV)-wheel build dist *.egg-info

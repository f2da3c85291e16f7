# make demo: writes three hospitals and an unseen one, trains FACMIC across them, leaves runs/demo/report.html; then the
#            same for FedMSA on volumes of an organ, leaves runs/segmentation_demo/report.html
# make test: lint, types, and the tests that start no server and at most one interpreter; real-data tests where FEDMED_DATA
#            names a folder
# make test-all: lint, types, all tests
# make fuzz: loads COUNT damaged files (COUNT=10000), beginning with file number FIRST=0 of each kind
# make gpu: on a machine with a GPU, without a network: installs the wheels of make gpu-wheels, shows that everything does
#            there what it does on the CPU, and how fast; leaves gpu.json and gpu.log in GPU_RESULTS=FOLDER
# make gpu-wheels: collects in .gpu-wheels what such a machine lacks
# make label: MONAI Label on http://127.0.0.1:8000 with the trained bundles (BUNDLES=FOLDERS), for STUDIES=FOLDER or a DICOMweb URL
# make test-label: tests of the bundles in MONAI Label, with Orthanc and OHIF (docs/monai-label.md says which programs it needs)

PYTHON ?= python3
BIN = .venv/bin
CLASSIFICATION = bundles/facmic_classification/configs
SEGMENTATION = bundles/fedmsa_segmentation/configs
LABEL = .venv-label/bin
BUNDLES = $(patsubst %/models/model.pt,%,$(wildcard bundles/*/models/model.pt))
PORT = 8000

GPU_PYTHON ?= $(PYTHON)
GPU_WHEELS ?= .gpu-wheels
GPU_SITE ?= runs/gpu-site
GPU_RESULTS ?= runs/gpu

COUNT = 10000
FIRST = 0
PACKAGES = fedmed_networks fedmed_workflows fedmed_transforms fedmed_faces.py conftest.py
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-all lint fuzz gpu gpu-wheels label test-label clean

demo: .venv/installed
	$(BIN)/python -m fedmed_transforms phantoms runs/demo_data
	$(BIN)/python -m monai.bundle run --config_file "['$(CLASSIFICATION)/federated.json', '$(CLASSIFICATION)/demo.json']"
	$(BIN)/python -m fedmed_transforms volume_phantoms runs/segmentation_demo_data
	$(BIN)/python -m monai.bundle run --config_file "['$(SEGMENTATION)/federated.json', '$(SEGMENTATION)/demo.json']"
	@echo "The reports: runs/demo/report.html and runs/segmentation_demo/report.html"

test: lint
	$(PYTEST) -m "not processes"

test-all: lint
	$(PYTEST)

lint: .venv/installed
	$(BIN)/flake8 $(PACKAGES) tests benchmarks docs/own_method
	$(BIN)/isort --check-only $(PACKAGES) tests benchmarks
	$(BIN)/mypy

fuzz: .venv/installed
	$(BIN)/python -m tests.transforms.loading.campaign $(COUNT) $(FIRST) runs/fuzz

# The packages of the machine stay as they are: the wheels go into a folder of their own.
gpu:
	if ls $(GPU_WHEELS)/*.whl > /dev/null 2>&1; then $(GPU_PYTHON) -m pip install --quiet --no-index --no-deps \
		--no-compile --no-cache-dir --upgrade --target $(GPU_SITE) $(GPU_WHEELS)/*.whl; fi
	PYTHONPATH="$(GPU_SITE):." $(GPU_PYTHON) -m benchmarks.gpu $(GPU_RESULTS)

gpu-wheels: .venv/installed
	$(BIN)/python -m benchmarks.gpu.wheels .gpu-wheels

# uv takes less than half of pip's time; pip installs where uv does not know the index that pip is configured for.
.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --editable ".[test]" \
		|| $(BIN)/pip install --quiet --editable ".[test]"
	touch $@

label: .venv-label/installed
	$(LABEL)/python -m fedmed_workflows label_server --studies $(STUDIES) --port $(PORT) $(BUNDLES)

test-label: .venv-label/installed
	OMP_NUM_THREADS=1 $(LABEL)/python -m pytest tests/label

# pip installs MONAI Label's wheel, whose applications uv misplaces; uv installs what it needs, with pyproject.toml's overrides.
# pydicom-seg imports a name from where pydicom 2 had it.
.venv-label/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-label
	$(LABEL)/pip install --quiet --upgrade pip uv
	$(LABEL)/pip install --quiet --no-deps monailabel==0.8.5
	$(LABEL)/uv pip install --quiet --python $(LABEL)/python --editable ".[label]"
	sed -i 's/pydicom\._storage_sopclass_uids/pydicom.uid/' $(LABEL)/../lib/python*/site-packages/pydicom_seg/*.py
	touch $@

clean:
	rm -rf .venv .venv-label runs build *.egg-info

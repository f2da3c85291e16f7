# make demo: writes three hospitals and an unseen one, trains FACMIC across them, leaves runs/demo/report.html; then the
#            same for FedMSA on volumes of an organ, leaves runs/segmentation_demo/report.html
# make test: lint, types, tests (and the real-data tests where FEDMED_DATA names a folder)

PYTHON ?= python3
BIN = .venv/bin
CLASSIFICATION = bundles/facmic_classification/configs
SEGMENTATION = bundles/fedmsa_segmentation/configs

.PHONY: demo test clean

demo: .venv/installed
	$(BIN)/python -m fedmed_transforms.phantoms runs/demo_data
	$(BIN)/python -m monai.bundle run --config_file "['$(CLASSIFICATION)/federated.json', '$(CLASSIFICATION)/demo.json']"
	$(BIN)/python -m fedmed_transforms.volume_phantoms runs/segmentation_demo_data
	$(BIN)/python -m monai.bundle run --config_file "['$(SEGMENTATION)/federated.json', '$(SEGMENTATION)/demo.json']"
	@echo "The reports: runs/demo/report.html and runs/segmentation_demo/report.html"

test: .venv/installed
	$(BIN)/flake8 fedmed_networks fedmed_workflows fedmed_transforms tests benchmarks
	$(BIN)/isort --check-only fedmed_networks fedmed_workflows fedmed_transforms tests benchmarks
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf .venv runs build *.egg-info

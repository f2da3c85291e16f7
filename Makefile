# make demo: writes three hospitals and an unseen one, trains FACMIC across them, leaves runs/demo/report.html
# make test: lint, types, tests (and the real-data tests where FEDMED_DATA names a folder)

PYTHON ?= python3
BIN = .venv/bin
BUNDLE = bundles/facmic_classification/configs

.PHONY: demo test clean

demo: .venv/installed
	$(BIN)/python -m fedmed_transforms.phantoms runs/demo_data
	$(BIN)/python -m monai.bundle run --config_file "['$(BUNDLE)/federated.json', '$(BUNDLE)/demo.json']"
	@echo "The report: runs/demo/report.html"

test: .venv/installed
	$(BIN)/flake8 fedmed_networks fedmed_workflows fedmed_transforms tests benchmarks
	$(BIN)/isort --check-only fedmed_networks fedmed_workflows fedmed_transforms tests benchmarks
	$(BIN)/mypy
	$(BIN)/python -m pytest

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf .venv runs build *.egg-info

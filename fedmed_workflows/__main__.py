"""Runs the commands ``python -m fedmed_workflows partition``, ``label_server`` and ``model_card``."""

import sys

from fedmed_faces import run_command

COMMANDS = {
    "label_server": "fedmed_workflows.clinic.label_server:main",
    "model_card": "fedmed_workflows.report.model_card:main",
    "partition": "fedmed_workflows.sites.partition.command:main",
}

if __name__ == "__main__":
    sys.exit(run_command("fedmed_workflows", COMMANDS))

"""Runs the commands ``python -m fedmed_transforms identifiers``, ``phantoms`` and ``volume_phantoms``."""

import sys

from fedmed_faces import run_command

COMMANDS = {
    "identifiers": "fedmed_transforms.patients.identifiers:main",
    "phantoms": "fedmed_transforms.simulation.phantoms:main",
    "volume_phantoms": "fedmed_transforms.simulation.volume_phantoms:main",
}

if __name__ == "__main__":
    sys.exit(run_command("fedmed_transforms", COMMANDS))

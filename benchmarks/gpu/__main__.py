"""Runs all parts, or those that are named:

    python -m benchmarks.gpu FOLDER [PART ...]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.gpu.order import PARTS, SECONDS, WITHOUT_GPU
from benchmarks.gpu.runner import run_parts


def main() -> int:
    """The command line; the exit status is 1 if a part failed or was over its time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for gpu.json and gpu.log")
    parser.add_argument("parts", nargs="*", help="names; none: all")
    options = parser.parse_args()
    unknown = set(options.parts) - {part.name for part in PARTS}
    if unknown:
        parser.error(f"unknown parts {sorted(unknown)}, expected some of {[part.name for part in PARTS]}")
    chosen = [part for part in PARTS if not options.parts or part.name in options.parts]
    results = run_parts(chosen, options.folder, SECONDS, WITHOUT_GPU)
    print(json.dumps({name: part["figures"] for name, part in results.parts.items()}))
    return 0 if results.good else 1


if __name__ == "__main__":
    sys.exit(main())

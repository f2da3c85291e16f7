"""Runs the console command ``fedmed``::

    fedmed run facmic_classification --dataset_dir data --unseen_site hospital_c --output_dir runs/mine
    fedmed predict runs/mine/bundle/facmic_classification STUDY --output_dir answers
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pkgutil import resolve_name

from fedmed_workflows.command.bundle_command import BUNDLE_COMMANDS, run_bundle_command
from fedmed_workflows.errors import BAD_INPUT, DEBUG, INTERRUPTED, last_line

DONE = 0

PROGRAMS = {
    "check": ("fedmed_transforms.patients.identifiers:main", "lists the direct identifiers that files still hold"),
    "label": ("fedmed_workflows.clinic.label_server:main", "serves trained bundles in MONAI Label"),
}
"""Commands with a program of their own: its function, and its purpose."""

EXIT_STATUSES = """exit status:
  0    done
  1    an error
  2    a bad input or setting
  3    done, but some inputs were refused
  130  interrupted

With --debug, or with FEDMED_DEBUG=1, an error is shown with its traceback.
`fedmed COMMAND BUNDLE --help` lists the settings of a bundle."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit status.

    Parameters
    ----------
    arguments
        Arguments after the program's name; None for those of the process.
    """
    options = list(sys.argv[1:] if arguments is None else arguments)
    if "--debug" in options:
        options.remove("--debug")
        os.environ[DEBUG] = "1"
    parser = _parser()
    command = parser.parse_args(options[:1]).command
    if command is None:
        parser.print_help()
        return BAD_INPUT
    return _status_of(lambda: _run(command, options[1:]))


def _run(command: str, options: list[str]) -> int:
    if command in BUNDLE_COMMANDS:
        run_bundle_command(command, options)
        return DONE
    sys.argv = [f"fedmed {command}", *options]
    status: int | None = resolve_name(PROGRAMS[command][0])()
    return status or DONE


def _status_of(work: Callable[[], int]) -> int:
    """Does work; an error ends with its cause in one line."""
    try:
        return work()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        text, status = last_line(error)
        print(text, file=sys.stderr)
        return status


def _parser() -> argparse.ArgumentParser:
    purposes = {**{name: kind.purpose for name, kind in BUNDLE_COMMANDS.items()}}
    purposes |= {name: purpose for name, (_, purpose) in PROGRAMS.items()}
    listed = "\n".join(f"  {name:9}{purpose}" for name, purpose in purposes.items())
    parser = argparse.ArgumentParser(
        prog="fedmed", usage="fedmed COMMAND ...", epilog=f"commands:\n{listed}\n\n{EXIT_STATUSES}",
        description="Trains, compares and applies federated foundation models.", add_help=True,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("command", nargs="?", choices=sorted(purposes), metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"fedmed {version('fedmed')}")
    return parser

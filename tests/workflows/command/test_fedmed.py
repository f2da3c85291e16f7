"""The console command: its arguments, its help, the last line of an error and the exit status."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import monai.bundle
import pytest

from fedmed_workflows.command.bundle_command import find_bundle, split_arguments
from fedmed_workflows.command.main import main
from fedmed_workflows.command.settings_help import setting_rows
from fedmed_workflows.errors import RefusedInputsError, last_line

ROOT = Path(__file__).parents[3]
FACMIC = ROOT / "bundles/facmic_classification"
PAGE = ROOT / "docs/command.md"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments that reach MONAI's command, which does not run."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(monai.bundle, "run", lambda **arguments: calls.append(arguments))
    return calls


def last_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    status = main(arguments)
    return status, capsys.readouterr().err.splitlines()[-1]


def test_run_is_monais_command_on_the_federation_of_a_bundle(given: list[dict[str, Any]]) -> None:
    assert main(["run", str(FACMIC), "methods/fedprox", "--rounds", "3", "--facmic#weights", "None"]) == 0
    configs = FACMIC / "configs"
    files = [str(configs / "federated.json"), str(configs / "methods/fedprox.json")]
    settings = {"run_id": "run", "bundle_root": str(FACMIC), "rounds": 3, "facmic#weights": "none"}
    assert given == [{"config_file": files, **settings}]


def test_predict_takes_the_study_and_compare_its_own_entry(given: list[dict[str, Any]]) -> None:
    assert main(["predict", str(FACMIC), "STUDY", "--output_dir", "OUT"]) == 0
    assert main(["compare", str(FACMIC)]) == 0
    assert (given[0]["dataset_dir"], given[0]["output_dir"], given[1]["run_id"]) == ("STUDY", "OUT", "compare")
    assert [Path(call["config_file"][0]).name for call in given] == ["inference.json", "compare.json"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run"], "fedmed run BUNDLE: found no bundle, expected one of ['facmic_classification', "),
        (["run", "facmic"], "facmic: found no bundle, expected one of ['facmic_classification', "),
        (["run", str(FACMIC), "methods/fedprx"], "methods/fedprx: found no overlay, expected the path of one or"),
        (["predict", str(FACMIC)], "fedmed predict BUNDLE DATASET_DIR: found no DATASET_DIR"),
        (["run", str(FACMIC), "--round", "3"], "setting 'round': nothing uses an entry of this name; did you mean"),
        (["run", str(FACMIC), "--dataset_dir", "nowhere"], "dataset_dir nowhere: expected a folder that holds one"),
    ],
)
def test_a_mistake_ends_with_status_2_and_its_cause_in_the_last_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = last_error(arguments, capsys)
    assert (status, line[: len("error: ") + len(expected)]) == (2, f"error: {expected}")


def test_the_check_of_identifiers_ends_with_status_2_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["check", "nowhere"])
    assert end.value.code == 2 and capsys.readouterr().err.splitlines()[-1].endswith("nowhere: no such file or folder")


def test_interrupted_unexpected_and_partly_refused_have_statuses_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    causes: list[BaseException] = [KeyboardInterrupt(), KeyError("image"), OSError(28, "No space left on device", "x")]
    causes += [RefusedInputsError("1 of 2 studies and images were refused; the first: y")]
    found = []
    for cause in causes:
        monkeypatch.setattr(monai.bundle, "run", lambda **_: (_ for _ in ()).throw(cause))
        found.append(last_error(["run", str(FACMIC)], capsys))
    assert found == [
        (130, "interrupted"),
        (1, "error: KeyError: 'image' (FEDMED_DEBUG=1 shows where)"),
        (1, "error: [Errno 28] No space left on device: 'x'"),
        (3, "error: 1 of 2 studies and images were refused; the first: y"),
    ]


def test_the_cause_is_found_below_the_errors_of_monai() -> None:
    error = RuntimeError("Failed to evaluate")
    error.__cause__ = RuntimeError("Failed to instantiate")
    error.__cause__.__cause__ = ValueError("rounds: found -1,\nexpected 0")
    assert last_line(error) == ("error: rounds: found -1, expected 0", 2)


def test_arguments_are_read_as_monais_command_reads_them() -> None:
    given = ["x", "--sites", "['a', 'b']", "--seed=3", "--names=[a,b]", "--weights", "runs/w.pt", "--reduced"]
    places, options = split_arguments(given)
    assert places == ["x"]
    assert options == {"sites": ["a", "b"], "seed": 3, "names": ["a", "b"], "weights": "runs/w.pt", "reduced": True}


def test_a_bundle_is_found_by_its_name_and_by_its_folder() -> None:
    assert find_bundle("facmic_classification").resolve() == find_bundle(str(FACMIC)).resolve()


@pytest.mark.parametrize("configuration", ["federated.json", "inference.json", "compare.json"])
def test_the_help_lists_the_settings_of_the_page(configuration: str) -> None:
    rows = setting_rows(FACMIC, configuration)
    text = (FACMIC / "configs" / configuration).read_text()
    assert len(rows) > 5 and all(f'"{name.split("#")[0]}"' in text for name, _, _ in rows)
    assert not [cell for row in rows for cell in row if "](" in cell or "`" in cell]


def test_the_page_shows_the_help_as_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert blocks()[0] == capsys.readouterr().out.strip()


@pytest.mark.processes
def test_the_page_shows_a_failed_run_as_it_is_with_the_command_of_monai_too(tmp_path: Path) -> None:
    own, line, monai_command, same = blocks()[1].splitlines()
    assert line == same
    config = str(FACMIC / "configs/federated.json")
    options = ["--config_file", config, "--bundle_root", str(FACMIC), *monai_command.split()[-2:]]
    program = "import sys; from fedmed_workflows.command.main import main; sys.exit(main())"
    starts = [["-m", "monai.bundle", "run", *options], ["-c", program, *own.split()[2:]]]
    done = [subprocess.run([sys.executable, *it], capture_output=True, text=True, cwd=tmp_path) for it in starts]
    assert [(run.returncode, run.stderr.splitlines()[-1]) for run in done] == [(2, line)] * 2
    assert not any("Traceback" in run.stderr for run in done)


def blocks() -> list[str]:
    """The blocks of the page without a language."""
    found = re.findall(r"^```text\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [text.strip() for text in found]

"""The settings of every bundle: they stand first in the configurations, and the bundle's page has a row for each."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

BUNDLES = sorted((Path(__file__).parents[2] / "bundles").iterdir())

CONFIGURATIONS = ("federated.json", "train.json", "evaluate.json", "inference.json", "watch.json", "compare.json",
                  "torchscript.json", "onnx.json", "tensorrt.json")  # fmt: skip
METHODS = "methods/*.json"

ROOT = "$@bundle_root + '/"
COMPUTED = {
    "CUDA if there is one, else the CPU": ["$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')"],
    "`eval` in the bundle's folder": [f"{ROOT}eval'"],
    "`models` in the bundle's folder": [f"{ROOT}models'"],
    "`models/model.pt` in the bundle's folder": [f"{ROOT}models/model.pt'"],
    "`models/model.ts` in the bundle's folder": [f"{ROOT}models/model.ts'"],
    "`models/model.onnx` in the bundle's folder": [f"{ROOT}models/model.onnx'"],
    "`features` in `output_dir`": ["$@output_dir + '/features'"],
    "`slices` in `output_dir`": ["$@output_dir + '/slices'"],
    "true with weights, else false": [
        f"$@{prefix}weights is not None" for prefix in ("", "fedsam#", "fedmsa#", "tinyvit#")
    ],
    "name and version of `metadata.json`": [{"name": "@_meta_#name", "version": "@_meta_#version"}],
}
"""Defaults in words, and the entries of the configurations that they stand for."""

ALL_METHODS = "every method of the bundle"
"""The default of `methods` in compare.json; tests/bundles/test_compare.py tests that it finds the overlays."""


def settings(root: Path, name: str) -> dict[str, Any]:
    """The settings of a configuration by id, in their order: its entries before the first component."""
    if name == METHODS:
        found = {path.stem: read(path) for path in sorted((root / "configs" / "methods").glob("*.json"))}
        return flat({method: content[method] for method, content in found.items() if method in content}, {*found})
    content = read(root / "configs" / name)
    names = takewhile(lambda entry: not begins_wiring(entry, content[entry]), content)
    return flat({entry: content[entry] for entry in names}, {"recipe", own_method(root)})


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def own_method(root: Path) -> str:
    """The entry of federated.json that holds the settings of the bundle's own method."""
    return root.name.partition("_")[0]


def begins_wiring(entry: str, value: Any) -> bool:
    """The aggregation is the one component that a user sets."""
    return entry.startswith("+") or (isinstance(value, dict) and "_target_" in value and entry != "aggregation")


def flat(content: dict[str, Any], groups: set[str]) -> dict[str, Any]:
    """Each setting of a group by an id of its own, as `facmic#weights`."""
    inner = {entry: value if entry in groups else {"": value} for entry, value in content.items()}
    return {f"{entry}#{name}".rstrip("#"): value for entry, part in inner.items() for name, value in part.items()}


def rows(root: Path, name: str) -> dict[str, tuple[str, str, str]]:
    """Default, meaning and unit of each setting, of the tables of a configuration in the bundle's page."""
    text = (root / "docs" / "README.md").read_text("utf-8")
    sections = re.findall(r"^#+ (Settings of [^\n]*)\n(.*?)(?=^##? |^### Settings|\Z)", text, re.MULTILINE | re.DOTALL)
    (content,) = (content for title, content in sections if f"`{name}`" in title)
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in content.splitlines() if line[:1] == "|"]
    listed = [cells for cells in found if cells[0] != "setting" and set(cells[0]) != {"-"}]
    assert len({cells[0] for cells in listed}) == len(listed)
    return {cells[0].strip("`"): (cells[1], cells[2], cells[3]) for cells in listed}


def differences(root: Path, name: str) -> list[str]:
    """Where the tables are not the configuration."""
    expected, found = settings(root, name), rows(root, name)
    if list(expected) != list(found):
        return [f"{name}: found the rows {list(found)}, expected {list(expected)}"]
    wrong = {entry: value for entry, value in expected.items() if not is_default(found[entry][0], value)}
    return [f"{name}: {entry}: found {found[entry][0]}, expected {value!r}" for entry, value in wrong.items()]


def is_default(cell: str, value: Any) -> bool:
    """Tells if a cell states a value: as JSON, or in words where the value is computed."""
    if cell == ALL_METHODS:
        return isinstance(value, dict) and all(isinstance(files, list) for files in value.values())
    return value in COMPUTED[cell] if cell in COMPUTED else cell == f"`{json.dumps(value, ensure_ascii=False)}`"


@pytest.fixture(params=BUNDLES, ids=lambda path: str(path.name))
def bundle_root(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.mark.parametrize("name", [*CONFIGURATIONS, METHODS])
def test_the_page_has_every_setting_with_its_default(bundle_root: Path, name: str) -> None:
    assert differences(bundle_root, name) == []
    assert all(meaning for _, meaning, _ in rows(bundle_root, name).values())


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_settings_stand_first_and_the_wiring_after_them(bundle_root: Path, name: str) -> None:
    content, first = read(bundle_root / "configs" / name), settings(bundle_root, name)
    after = list(content)[len({entry.partition("#")[0] for entry in first}) :]
    plain = [entry for entry in after if not re.search(r'"[@$%]|"_target_"', json.dumps(content[entry]))]
    assert first and [entry for entry in plain if "#" not in entry] == []


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_order_of_the_settings_is_that_of_every_bundle(bundle_root: Path, name: str) -> None:
    own, other = (
        [entry.replace(f"{own_method(root)}#", "method#") for entry in settings(root, name)]
        for root in (bundle_root, BUNDLES[0])
    )
    assert [entry for entry in own if entry in other] == [entry for entry in other if entry in own]


def test_an_overlay_of_a_method_sets_what_has_a_row(bundle_root: Path) -> None:
    known = read(bundle_root / "configs" / "federated.json")
    for path in (bundle_root / "configs" / "methods").glob("*.json"):
        added = [entry for entry in read(path) if not re.search(r"[#+]", entry) and entry not in known]
        assert added in ([], [path.stem]), path


CHANGES: list[tuple[str, Any, str]] = [
    ("rounds", 51, "rounds: found `50`, expected 51"),
    ("facmic", {"target": "none"}, "found the rows"),
    ("device", "cpu", "device: found CUDA if there is one, else the CPU, expected 'cpu'"),
    ("aggregation", {"_target_": "fedmed_workflows.aggregation.Median"}, "aggregation: found `{"),
    ("new", None, "found the rows"),
]


@pytest.mark.parametrize(("entry", "value", "said"), CHANGES, ids=[change[0] for change in CHANGES])
def test_a_changed_default_is_found(tmp_path: Path, entry: str, value: Any, said: str) -> None:
    root = tmp_path / BUNDLES[0].name
    shutil.copytree(BUNDLES[0], root)
    content = read(root / "configs" / "federated.json")
    changed = {**content, entry: value} if entry in content else {entry: value, **content}
    (root / "configs" / "federated.json").write_text(json.dumps(changed))
    (found,) = differences(root, "federated.json")
    assert said in found


def texts(node: Any) -> Iterator[str]:
    """The ids and texts of a configuration."""
    if isinstance(node, str):
        yield node
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else []:
        yield str(key)
        yield from texts(child)


POSITION = re.compile(r"(#|::)\d")


def test_no_configuration_refers_to_a_position(bundle_root: Path) -> None:
    """An overlay that replaces `handlers#0` replaces another handler as soon as one is added."""
    assert POSITION.search("handlers#0#_disabled_") and POSITION.search("$@handlers#0.path")
    for path in bundle_root.rglob("*.json"):
        assert [text for text in texts(read(path)) if POSITION.search(text)] == [], path


def test_no_documented_command_refers_to_a_position() -> None:
    root = BUNDLES[0].parents[1]
    for page in [root / "README.md", *root.glob("docs/*.md"), *root.glob("bundles/*/docs/*.md")]:
        assert re.findall(r"--[\w#]+#\d\S*", page.read_text("utf-8")) == [], page

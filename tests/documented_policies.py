"""The policies that the documents tell the hosts' administrators to write, as they tell them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DOCUMENTS = [Path(__file__).parents[1] / "docs" / name for name in ("nvflare.md", "statistics.md")]


def documented(name: str) -> dict[str, Any]:
    """A block of JSON of the documentation, by the comment before it."""
    text = "".join(document.read_text() for document in DOCUMENTS)
    (block,) = re.findall(rf"<!-- {name} -->\n```json\n(.*?)```", text, re.DOTALL)
    content: dict[str, Any] = json.loads(block)
    return content


def follow_documentation(kit: Path, role: str) -> None:
    """Writes the policies that the documentation names into a start-up kit."""
    (kit / "local" / "authorization.json").write_text(json.dumps(documented("authorization.json")))
    file = kit / "local" / "resources.json"
    resources, lines = json.loads(file.read_text()), documented(f"{role} resources.json")
    names = {entry["id"] for entry in lines["components"]}
    kept = [entry for entry in resources["components"] if entry["id"] not in names]
    file.write_text(json.dumps({**resources, **lines, "components": kept + lines["components"]}))


def allow_documented(kit: Path, name: str) -> None:
    """Adds a documented list of classes to those that jobs may name."""
    file = kit / "local" / "resources.json"
    resources = json.loads(file.read_text())
    resources["class_allow_list"] += documented(name)["class_allow_list"]
    file.write_text(json.dumps(resources))

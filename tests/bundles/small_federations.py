"""Small federations of every bundle and every overlay that the folders have, for tests that run them all."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import create_workflow

from fedmed_workflows.federation.bundle.overlays import merged

BUNDLES = Path(__file__).parents[2] / "bundles"


@dataclass(frozen=True)
class Method:
    """A method of a bundle: its own, or the one of an overlay; with changed settings if they are given."""

    root: Path
    overlay: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        changed = "_".join([*self.settings, *self.entries])
        return f"{self.root.name}-{self.overlay.stem if self.overlay else 'own'}{changed and f'-{changed}'}"

    @property
    def files(self) -> list[str]:
        """The configuration of the federation, and the overlay."""
        return [str(file) for file in (self.root / "configs" / "federated.json", self.overlay) if file]

    @property
    def name(self) -> str:
        """The entry of the bundle's own settings in federated.json."""
        return self.root.name.split("_")[0]

    def federation(self, small: dict[str, Any]) -> Any:
        """Builds the federation with small networks; `small` has the settings of each bundle by its name."""
        content = merged(self.files)
        own = {**content[self.name], **small[self.name]["settings"], **self.settings}
        entries = {**small[self.name]["entries"], **self.entries, self.name: own}
        workflow = create_workflow(config_file=self.files, bundle_root=str(self.root), **copy.deepcopy(entries))
        return workflow.parser.get_parsed_content("federation")


METHODS = [
    Method(root, overlay)
    for root in sorted(BUNDLES.iterdir())
    for overlay in (None, *sorted((root / "configs" / "methods").glob("*.json")))
]
"""Every bundle with its own method, and with each of its overlays."""

"""Writes the figures of the newest run on a GPU into the documents:

    python -m benchmarks.gpu.documents

The runs lie in ``docs/results/gpu``, each a ``gpu.json`` of ``make gpu`` under a name of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.gpu.results import ROOT

BEGIN, END = "<!-- figures of a GPU: begin -->", "<!-- figures of a GPU: end -->"

DOCUMENTS = {"README.md": False, "docs/performance.md": True}
"""The documents with a place for the figures, and whether they list every part."""

NOT_RUN = (
    "No part of the project has been run on a GPU yet. Tests run the GPU's way of loading, and networks in bfloat16, "
    "with the CPU in the\nGPU's place. `make gpu` runs and measures everything on a GPU"
)

FASTER = "{bfloat16_times_faster} times faster ({bfloat16_seconds} s), {bfloat16_share_of_memory} of the memory"

ROWS = (
    ("a FedMSA step, vit_b, 4 images of 1024 pixels, bfloat16, against segment_anything's attention in float32",
     "steps_vit_b", FASTER),
    ("the same with our attention in float32", "steps_vit_b",
     "{ours_times_faster} times faster, {ours_share_of_memory} of the memory"),
    ("the same in bfloat16 with torch.compile", "compiled", "{compiled_seconds} s, {compiled_peak_gb} GB"),
    ("the same in bfloat16 with FlexAttention", "flex", "{flex_seconds} s, {flex_peak_gb} GB"),
    ("a FedMSA step, vit_h, 1 image of 1024 pixels, bfloat16, against segment_anything's attention in float32",
     "steps_vit_h", FASTER),
    ("SAM's inference, slices a second, against segment_anything's predictor", "segmentation",
     "{times_faster:.2f} times as many, {share_of_memory:.2f} of the memory"),
    ("pictures a second from files to features of ViT-B-32, against open_clip's parts", "encoding",
     "{ours_pictures_a_second} of {pictures}, {times_faster} times as many"),
    ("a FACMIC round after the first, against the published procedure", "facmic_round",
     "{times_faster_after_the_first_round} times faster"),
    ("a CT of 120 slices to a volume on the GPU, against MONAI's reader and an upload", "loading_speed",
     "{CT, uncompressed[times_faster]} times faster, JPEG-LS {CT, JPEG-LS[times_faster]} times"),
    ("a `.nii.gz` of 512×512×120 to a volume on the GPU, against the same", "loading_speed",
     "{NIfTI, gzip[times_faster]} times faster"),
)  # fmt: skip
"""What a row says, the part that measured it, and its figures."""


def newest(folder: Path) -> dict[str, Any] | None:
    """Reads the newest run on a GPU of a folder; None if there is none."""
    runs = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    return max((run for run in runs if run["gpu"]), key=lambda run: str(run["date"]), default=None)


def section(run: dict[str, Any] | None, every_part: bool) -> str:
    """Returns the text between the two marks of a document.

    Parameters
    ----------
    run
        The content of a ``gpu.json``; None where there is none.
    every_part
        Whether to list how every part ended.
    """
    if run is None:
        return f"{NOT_RUN} ({'see above' if every_part else '[how](docs/performance.md#on-a-gpu)'})."
    machine = run["parts"]["machine"]["figures"]
    place = f"{run['system']}, torch {machine['torch']}, commit {run['commit']}"
    text = [f"Measured on {run['date']} with one {machine['device']} ({place}):", ""]
    text += ["| what | measured |", "|---|---|", *_rows(run)]
    if every_part:
        text += ["", "| part | ended | why |", "|---|---|---|"]
        text += [f"| {name} | {part['status']}, {part['seconds']} s | {_cell(part['reason'])} |"
                 for name, part in run["parts"].items()]  # fmt: skip
    return "\n".join(text)


def _rows(run: dict[str, Any]) -> list[str]:
    rows = []
    for what, name, form in ROWS:
        part = run["parts"].get(name, {"figures": {}, "status": "not run", "reason": ""})
        try:
            measured = form.format(**part["figures"])
        except KeyError:  # the part ended before this figure
            measured = f"{part['status']}: {_cell(part['reason'])}" if part["reason"] else part["status"]
        rows.append(f"| {what} | {measured} |")
    return rows


def _cell(text: str) -> str:
    return text.replace("|", "/")


def updated(text: str, run: dict[str, Any] | None, every_part: bool) -> str:
    """Returns a document with the text between its marks replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{section(run, every_part)}\n{END}{after}"


def main() -> None:
    """Writes all documents."""
    run = newest(ROOT / "docs" / "results" / "gpu")
    for name, every_part in DOCUMENTS.items():
        file = ROOT / name
        file.write_text(updated(file.read_text("utf-8"), run, every_part), "utf-8")


if __name__ == "__main__":
    main()

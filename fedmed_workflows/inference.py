"""Inference of a classifier: a volume's pictures pooled to one answer, answers to a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.inferers import Inferer

from fedmed_workflows.run_folder import write_whole

FILES = ("predictions.csv", "predictions.json")

PICTURES_A_PASS = 32
"""Pictures of a volume that go through the network together."""


class PooledInferer(Inferer):
    """Logits of an image from those of its pictures.

    One picture's logits are passed on as they are. Several pictures (a volume's slices) are scored and pooled: the
    answer is the logarithm of their mean class probabilities, whose softmax is that mean.
    """

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Scores a batch of images.

        Parameters
        ----------
        inputs
            (B, 3, S, S), one picture an image; or (B, N, 3, S, S), N pictures an image.
        network
            (N, 3, S, S) -> (N, C).

        Returns
        -------
        torch.Tensor
            (B, C) logits.
        """
        if inputs.ndim == 4:
            logits: torch.Tensor = network(inputs, *args, **kwargs)
            return logits
        return torch.stack([self._pool(pictures, network, *args, **kwargs) for pictures in inputs])

    def _pool(self, pictures: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        logits = torch.cat([network(part, *args, **kwargs) for part in pictures.split(PICTURES_A_PASS)])
        return logits[0] if len(logits) == 1 else logits.softmax(dim=1).mean(dim=0).log()


class ProbabilityTable:
    """A handler that writes what an evaluator answered: ``predictions.csv`` and ``predictions.json``.

    Parameters
    ----------
    output_dir
        Folder of the two files.
    class_names
        The classes, in the order of the probabilities.
    """

    def __init__(self, output_dir: str, class_names: Sequence[str]) -> None:
        self.output_dir = Path(output_dir)
        self.class_names = list(class_names)
        self._rows: list[dict[str, Any]] = []

    def attach(self, engine: Engine) -> None:
        """Attaches to an evaluator whose items hold ``path`` and whose outputs hold probabilities (C,) in ``pred``."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._see)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self._rows.clear()
        for name in FILES:
            (self.output_dir / name).unlink(missing_ok=True)  # answers of an earlier run are not these images'

    def _see(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            probabilities = [float(value) for value in output["pred"]]
            best = max(range(len(probabilities)), key=probabilities.__getitem__)
            self._rows.append(
                {
                    "image": str(item["path"]),
                    "prediction": self.class_names[best],
                    "probabilities": dict(zip(self.class_names, probabilities, strict=True)),
                }
            )

    def _write(self, engine: Engine) -> None:
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(["image", "prediction", *self.class_names])
        writer.writerows([row["image"], row["prediction"], *row["probabilities"].values()] for row in self._rows)
        write_whole(self.output_dir / "predictions.csv", table.getvalue())
        write_whole(self.output_dir / "predictions.json", json.dumps(self._rows, indent=2))

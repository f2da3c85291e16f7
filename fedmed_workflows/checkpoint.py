"""Loading a trained network, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

from ignite.engine import Engine
from monai.handlers import CheckpointLoader


class NamedCheckpointLoader(CheckpointLoader):
    """MONAI's CheckpointLoader, whose errors name the checkpoint.

    Raises
    ------
    ValueError
        There is no such file, its weights have other names or shapes than the network's, or other classes.
    """

    def __call__(self, engine: Engine) -> None:
        """Loads the checkpoint when the engine starts."""
        if not Path(self.load_path).is_file():
            raise ValueError(f"{self.load_path}: no such checkpoint; train first, or name one with --ckpt_path")
        try:
            super().__call__(engine)
        except Exception as error:  # torch has one of its own for every way a file can be no checkpoint
            raise ValueError(f"{self.load_path}: this checkpoint does not fit the network: {error}") from error

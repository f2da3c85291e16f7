"""Stops training when the loss becomes NaN or infinite."""

from __future__ import annotations

import math

from ignite.engine import Engine, Events

from fedmed_workflows.errors import NonFiniteLossError


class LossWatch:
    """A handler that records the losses of a training run and stops it at the first loss that is NaN or infinite.

    Parameters
    ----------
    site
        Name of the site that trains, for the error message.

    Attributes
    ----------
    losses
        The loss of every step of the current run.

    Examples
    --------
    >>> from ignite.engine import Engine
    >>> from fedmed_workflows import LossWatch
    >>> trainer = Engine(lambda engine, loss: {"loss": loss})
    >>> watch = LossWatch("hospital_a")
    >>> watch.attach(trainer)
    >>> _ = trainer.run([0.5, 0.25])
    >>> watch.losses
    [0.5, 0.25]
    """

    def __init__(self, site: str = "") -> None:
        self.site = site
        self.losses: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Attaches the handler to a trainer whose output has the entry ``loss``."""
        engine.add_event_handler(Events.STARTED, lambda _: self.losses.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._watch)

    def _watch(self, engine: Engine) -> None:
        output = engine.state.output
        self.losses.append(float((output[0] if isinstance(output, list) else output)["loss"]))
        if not math.isfinite(self.losses[-1]):
            prefix = f"site {self.site!r}: " if self.site else ""
            raise NonFiniteLossError(
                f"{prefix}the loss became {self.losses[-1]} in step {len(self.losses)} of its training; "
                "the state of the previous round is kept; a lower learning rate may help"
            )

"""Training stops as soon as its loss is no number any more."""

from __future__ import annotations

import math

from ignite.engine import Engine, Events

from fedmed_workflows.errors import NonFiniteLossError


class LossWatch:
    """A handler that keeps the losses of a training run, and ends it at the first that is NaN or infinite.

    Parameters
    ----------
    site
        Whose training it is, for the message.

    Attributes
    ----------
    losses
        The loss of every step of the current run.
    """

    def __init__(self, site: str = "") -> None:
        self.site = site
        self.losses: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Attaches to a trainer whose output holds ``loss``."""
        engine.add_event_handler(Events.STARTED, lambda _: self.losses.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._watch)

    def _watch(self, engine: Engine) -> None:
        output = engine.state.output
        self.losses.append(float((output[0] if isinstance(output, list) else output)["loss"]))
        if not math.isfinite(self.losses[-1]):
            whose = f"site {self.site!r}: " if self.site else ""
            raise NonFiniteLossError(
                f"{whose}the loss became {self.losses[-1]} in step {len(self.losses)} of its training; "
                "what was kept before stays, a lower learning rate may help"
            )

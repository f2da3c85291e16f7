"""The loss term: a handler that adds a penalty on the gate to the loss of every training step."""

from ignite.engine import Engine
from monai.engines import IterationEvents

from gated_adapter.network import GatedAdapter


class GatePenalty:
    """Adds penalty * g to the loss, so that a site opens the gate only as far as its images ask for."""

    def __init__(self, network: GatedAdapter, penalty: float) -> None:
        if not (isinstance(penalty, (int, float)) and penalty >= 0):
            raise ValueError(f"penalty: expected a number of at least 0, found {penalty!r}")
        self.network, self.penalty = network, penalty

    def attach(self, engine: Engine) -> None:
        """Attaches to MONAI's trainer."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._add)

    def _add(self, engine: Engine) -> None:
        engine.state.output["loss"] = engine.state.output["loss"] + self.penalty * self.network.gate.sigmoid().sum()

"""The engine of NVFlare's server: a site's round is a message there and one back."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from nvflare.apis.shareable import Shareable
from safetensors import SafetensorError

from fedmed_workflows.errors import SiteError, reported_error
from fedmed_workflows.exchange.weights import FileWeights, Update
from fedmed_workflows.nvflare.server.site_registry import SiteRegistry
from fedmed_workflows.nvflare.server.tasks import SiteTasks
from fedmed_workflows.nvflare.wire.files import SOURCE
from fedmed_workflows.nvflare.wire.messages import (
    OPEN,
    SAMPLES,
    SCORE,
    TRAIN,
    VALIDATE,
    filtered_update,
    message_values,
)

logger = logging.getLogger(__name__)

FETCHED_AT_A_TIME = 4
"""How many updates the server fetches side by side: one slow link holds up nobody else's."""


class NVFlareSites:
    """All sites of a federation, called over NVFlare.

    An aggregate goes to a site once: with the task that validates it. The next round trains from it there. A site that
    does not answer is left alone until it answers again: a standing task waits for it, and it takes part from the
    round after.

    Parameters
    ----------
    tasks
        Asks the sites.
    opened
        What the sites said when they joined.
    initial
        The exchanged tensors before round 1.
    seconds
        Time limit of a task.
    incoming
        Folder of the updates of the current round.
    filtered
        Whether filters of NVFlare are applied to what the sites send.
    """

    def __init__(
        self,
        tasks: SiteTasks,
        opened: SiteRegistry,
        initial: FileWeights,
        seconds: float | None,
        incoming: Path,
        filtered: bool = False,
    ) -> None:
        self.tasks, self.opened, self.initial, self.seconds = tasks, opened, initial, seconds
        self.incoming, self.filtered = incoming, filtered
        self._released: dict[str, Any] = {}
        self._holding: dict[str, int] = {}
        self._standing: set[str] = set()

    def open(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Has every site read and check its images; the unseen site first, whose features the others may need.

        This has no time limit: a first look at all images, and their features, may take hours.

        Raises
        ------
        SiteError
            The unseen site did not answer, or not enough training sites did; the message says what each of them said.
        """
        contributed = _contributed(history)
        if self.opened.unseen is not None:
            self._open([self.opened.unseen], {})
            self.opened.check_unseen()
            self._released = self.opened.released()
        self._open(self.opened.training, contributed)
        self.opened.check_enough()

    def initial_weights(self) -> FileWeights:
        """The exchanged tensors before round 1."""
        return self.initial

    def to_transport(self, weights: Mapping[str, torch.Tensor], file: Path) -> FileWeights:
        """The file: sites fetch it, and nothing of it stays in the server's memory."""
        return FileWeights(file)

    def check_states(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Nothing is left to check: a site that lost its state says so when it joins."""

    def train(self, weights: Mapping[str, torch.Tensor], round_number: int) -> Iterator[tuple[str, Update | Exception]]:
        """One round: every training site's name with its update, or with the error that ended its round."""
        present = [site for site in self.opened.training if site in self.opened.ready]
        for site in (name for name in self.opened.names if name not in self.opened.ready):
            self._wait_for(site)
            if site != self.opened.unseen:
                yield site, SiteError(f"site {site!r}: {self.opened.reasons.get(site, 'is away')}")
        shutil.rmtree(self.incoming, ignore_errors=True)
        asked = self._ask_holding(TRAIN, weights, round_number - 1, present, round=round_number)
        with ThreadPoolExecutor(FETCHED_AT_A_TIME) as pool:
            updates = {pool.submit(self._update, site, answer, weights): site for site, answer in asked}
            for update in as_completed(updates):
                yield updates[update], update.result()

    def validate(self, weights: Mapping[str, torch.Tensor], round_number: int) -> dict[str, dict[str, float]]:
        """Metrics of a round's aggregate on every site's validation images and on the unseen site."""
        found = {}
        values = {"aggregate": round_number}
        for site, answer in self.tasks.ask(VALIDATE, values, self._present(), self.seconds, _file(weights)):
            said = self._values(site, answer)
            if said is not None:
                self._holding[site] = round_number
                found[site] = dict(said["metrics"])
        return {site: found[site] for site in self.opened.names if site in found}

    def score(self, weights: Mapping[str, torch.Tensor], round_number: int) -> dict[str, dict[str, Any]]:
        """Metrics of a round's aggregate with intervals, of round 0 for the untrained network."""
        sites = self._present()
        asked = (
            self.tasks.ask(SCORE, {"aggregate": 0, "initial": True}, sites, self.seconds)
            if round_number == 0
            else self._ask_holding(SCORE, weights, round_number, sites)
        )
        found = {}
        for site, answer in asked:
            values = None if isinstance(answer, Exception) else self._values(site, answer)
            if values is not None:
                found[site] = json.loads(values["score"])
        return {site: found[site] for site in self.opened.names if site in found}

    def _present(self) -> list[str]:
        return [site for site in self.opened.names if site in self.opened.ready]

    def _ask_holding(
        self, name: str, weights: Mapping[str, torch.Tensor], aggregate: int, sites: Sequence[str], **values: Any
    ) -> Iterator[tuple[str, Shareable | Exception]]:
        """Asks with the aggregate those who do not hold it, without it those who do; with it, if one has lost it."""
        holding = [site for site in sites if self._holding.get(site) == aggregate]
        lost = [site for site in sites if site not in holding]
        task = {"aggregate": aggregate, **values}
        for site, answer in self.tasks.ask(name, task, holding, self.seconds):
            said = self._values(site, answer)
            if said is not None and said.get("needs_weights"):
                lost.append(site)
            else:
                yield site, answer if said is not None else SiteError(self.opened.reasons[site])
        for site, answer in self.tasks.ask(name, task, lost, self.seconds, _file(weights)):
            said = self._values(site, answer)
            yield site, answer if said is not None else SiteError(self.opened.reasons[site])

    def _open(self, sites: Sequence[str], contributed: Mapping[str, int]) -> None:
        task = self._open_task(contributed)
        for site, answer in self.tasks.ask(OPEN, task, sites, None):
            self._take_up(site, answer)

    def _open_task(self, contributed: Mapping[str, int]) -> dict[str, Any]:
        return {"contributed": dict(contributed), **self._released}

    def _take_up(self, site: str, answer: Shareable | Exception) -> None:
        values = self._values(site, answer)
        if values is None:
            return
        try:
            self.opened.register(site, values)
        except Exception as error:
            self._lost(site, error)

    def _wait_for(self, site: str) -> None:
        if site not in self._standing:
            self._standing.add(site)
            self.tasks.stand(OPEN, self._open_task({}), site, self._came_back)

    def _came_back(self, site: str, answer: Shareable) -> None:
        self._standing.discard(site)
        self._holding.pop(site, None)
        self._take_up(site, answer)
        logger.info("site %s is back", site)

    def _update(
        self, site: str, answer: Shareable | Exception, weights: Mapping[str, torch.Tensor]
    ) -> Update | Exception:
        try:
            if isinstance(answer, Exception):
                return answer
            if self.filtered:
                return filtered_update(answer, site, weights)
            values = message_values(answer, site)
            if SOURCE not in values:
                raise SiteError("its answer holds no update")
            sent = FileWeights(self.tasks.fetch(values[SOURCE], self.incoming))
            return Update(sent, values.get(SAMPLES), dict(values.get("metrics") or {}))  # type: ignore[arg-type]
        except SafetensorError as error:
            return SiteError(f"site {site!r}: sent a file that holds no tensors: {error}")
        except SiteError as error:
            return SiteError(f"site {site!r}: {str(error).removeprefix(f'site {site!r}: ')}")

    def _values(self, site: str, answer: Shareable | Exception) -> dict[str, Any] | None:
        """What a site answered; None, and the site counts as away, if it did not."""
        try:
            if isinstance(answer, Exception):
                raise answer
            return message_values(answer, site)
        except Exception as error:
            self._lost(site, error)
            return None

    def _lost(self, site: str, error: Exception) -> None:
        logger.warning("site %s: %s", site, error)
        self._holding.pop(site, None)
        self.opened.mark_missing(site, reported_error(error))


def _contributed(history: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The last round that each site contributed to."""
    return {
        site: entry["round"] for entry in history[1:] for site, part in entry["sites"].items() if "error" not in part
    }


def _file(weights: Mapping[str, torch.Tensor]) -> Path:
    assert isinstance(weights, FileWeights)  # as to_transport by this engine
    return weights.path

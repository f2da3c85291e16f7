"""The engine on NVFlare's server: each step of a site is a message to the site and an answer."""

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
"""Number of updates that the server fetches in parallel, so that a slow link does not delay other sites."""


class NVFlareSites:
    """Calls all sites of a federation over NVFlare.

    An aggregate is sent to a site once, with the task that validates it. The next round starts from the aggregate that
    the site has. A site that does not answer gets no further tasks but one standing task, which waits for the return
    of the site. The site takes part again in the round after its answer.

    Parameters
    ----------
    tasks
        Sends tasks to the sites.
    registry
        The registry of the sites.
    initial
        The exchanged tensors before round 1.
    seconds
        Time limit of a task.
    incoming
        Folder of the updates of the current round.
    filtered
        Whether filters of NVFlare are applied to the updates.
    """

    def __init__(
        self,
        tasks: SiteTasks,
        registry: SiteRegistry,
        initial: FileWeights,
        seconds: float | None,
        incoming: Path,
        filtered: bool = False,
    ) -> None:
        self.tasks, self.registry, self.initial, self.seconds = tasks, registry, initial, seconds
        self.incoming, self.filtered = incoming, filtered
        self._released: dict[str, Any] = {}
        self._holding: dict[str, int] = {}
        self._standing: set[str] = set()

    def open(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Lets every site read and check its images. The unseen site is first, as other sites may need its features.

        There is no time limit, because reading all images and computing their features may take hours.

        Raises
        ------
        SiteError
            The unseen site or too many training sites did not answer. The message has the reason of each site.
        """
        contributed = _contributed(history)
        if self.registry.unseen is not None:
            self._open([self.registry.unseen], {})
            self.registry.check_unseen()
            self._released = self.registry.released()
        self._open(self.registry.training, contributed)
        self.registry.check_enough()

    def initial_weights(self) -> FileWeights:
        """Returns the exchanged tensors before round 1."""
        return self.initial

    def to_transport(self, weights: Mapping[str, torch.Tensor], file: Path) -> FileWeights:
        """Returns the file, which the sites fetch, so that no tensor stays in the server's memory."""
        return FileWeights(file)

    def check_states(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Does nothing: a site that lost its state reports this when it joins."""

    def train(self, weights: Mapping[str, torch.Tensor], round_number: int) -> Iterator[tuple[str, Update | Exception]]:
        """Runs one round; yields each training site's name with its update, or with the error that ended its round."""
        present = [site for site in self.registry.training if site in self.registry.ready]
        for site in (name for name in self.registry.names if name not in self.registry.ready):
            self._wait_for(site)
            if site != self.registry.unseen:
                yield site, SiteError(f"site {site!r}: {self.registry.reasons.get(site, 'is away')}")
        shutil.rmtree(self.incoming, ignore_errors=True)
        asked = self._ask_holding(TRAIN, weights, round_number - 1, present, round=round_number)
        with ThreadPoolExecutor(FETCHED_AT_A_TIME) as pool:
            updates = {pool.submit(self._update, site, answer, weights): site for site, answer in asked}
            for update in as_completed(updates):
                yield updates[update], update.result()

    def validate(self, weights: Mapping[str, torch.Tensor], round_number: int) -> dict[str, dict[str, float]]:
        """Returns the metrics of an aggregate on every site's validation images and on the unseen site."""
        found = {}
        task = {"aggregate": round_number}
        for site, answer in self.tasks.ask(VALIDATE, task, self._present(), self.seconds, _file(weights)):
            values = self._values(site, answer)
            if values is not None:
                self._holding[site] = round_number
                found[site] = dict(values["metrics"])
        return {site: found[site] for site in self.registry.names if site in found}

    def score(self, weights: Mapping[str, torch.Tensor], round_number: int) -> dict[str, dict[str, Any]]:
        """Returns the metrics of an aggregate, with intervals; round 0 is the untrained network."""
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
        return {site: found[site] for site in self.registry.names if site in found}

    def _present(self) -> list[str]:
        return [site for site in self.registry.names if site in self.registry.ready]

    def _ask_holding(
        self, name: str, weights: Mapping[str, torch.Tensor], aggregate: int, sites: Sequence[str], **values: Any
    ) -> Iterator[tuple[str, Shareable | Exception]]:
        """Sends a task to the sites, with the aggregate only to those that do not have it or have lost it."""
        holding = [site for site in sites if self._holding.get(site) == aggregate]
        lost = [site for site in sites if site not in holding]
        task = {"aggregate": aggregate, **values}
        for site, answer in self.tasks.ask(name, task, holding, self.seconds):
            found = self._values(site, answer)
            if found is not None and found.get("needs_weights"):
                lost.append(site)
            else:
                yield site, answer if found is not None else SiteError(self.registry.reasons[site])
        for site, answer in self.tasks.ask(name, task, lost, self.seconds, _file(weights)):
            found = self._values(site, answer)
            yield site, answer if found is not None else SiteError(self.registry.reasons[site])

    def _open(self, sites: Sequence[str], contributed: Mapping[str, int]) -> None:
        task = self._open_task(contributed)
        for site, answer in self.tasks.ask(OPEN, task, sites, None):
            self._register(site, answer)

    def _open_task(self, contributed: Mapping[str, int]) -> dict[str, Any]:
        return {"contributed": dict(contributed), **self._released}

    def _register(self, site: str, answer: Shareable | Exception) -> None:
        values = self._values(site, answer)
        if values is None:
            return
        try:
            self.registry.register(site, values)
        except Exception as error:
            self._mark_missing(site, error)

    def _wait_for(self, site: str) -> None:
        if site not in self._standing:
            self._standing.add(site)
            self.tasks.stand(OPEN, self._open_task({}), site, self._on_return)

    def _on_return(self, site: str, answer: Shareable) -> None:
        self._standing.discard(site)
        self._holding.pop(site, None)
        self._register(site, answer)
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
                raise SiteError("its answer has no update")
            sent = FileWeights(self.tasks.fetch(values[SOURCE], self.incoming))
            return Update(sent, values.get(SAMPLES), dict(values.get("metrics") or {}))  # type: ignore[arg-type]
        except SafetensorError as error:
            return SiteError(f"site {site!r}: sent a file without tensors: {error}")
        except SiteError as error:
            return SiteError(f"site {site!r}: {str(error).removeprefix(f'site {site!r}: ')}")

    def _values(self, site: str, answer: Shareable | Exception) -> dict[str, Any] | None:
        """Returns the values of a site's answer; returns None and marks the site as missing without a valid answer."""
        try:
            if isinstance(answer, Exception):
                raise answer
            return message_values(answer, site)
        except Exception as error:
            self._mark_missing(site, error)
            return None

    def _mark_missing(self, site: str, error: Exception) -> None:
        logger.warning("site %s: %s", site, error)
        self._holding.pop(site, None)
        self.registry.mark_missing(site, reported_error(error))


def _contributed(history: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Returns the last round to which each site contributed."""
    return {
        site: entry["round"] for entry in history[1:] for site, part in entry["sites"].items() if "error" not in part
    }


def _file(weights: Mapping[str, torch.Tensor]) -> Path:
    assert isinstance(weights, FileWeights)  # from to_transport of this engine
    return weights.path

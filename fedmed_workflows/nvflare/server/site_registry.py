"""The registry of the sites of a run: checks that all have the same network, frozen weights and unchanged images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed_workflows.errors import ManifestError, SiteError
from fedmed_workflows.exchange.manifest import Manifest


class SiteRegistry:
    """The sites of a run, with the answer of each site at its registration.

    Parameters
    ----------
    training
        Names of the training sites.
    unseen
        Name of the unseen site, or None.
    manifest
        The tensors that a site must exchange.
    initial
        Digest of the exchanged tensors before round 1, which every site initializes from the seed.
    min_sites
        Number of training sites that must be ready.
    data
        Digests of the sites' images from earlier jobs of the run, by site.

    Attributes
    ----------
    ready
        Names of the sites that answered the last task.
    reasons
        Reason why a site is not ready, by site name.
    """

    def __init__(
        self,
        training: Sequence[str],
        unseen: str | None,
        manifest: Manifest,
        initial: str,
        min_sites: int,
        data: Mapping[str, str],
    ) -> None:
        self.training, self.unseen = sorted(training), unseen
        self.manifest, self.initial, self.min_sites = manifest, initial, min_sites
        self.data = dict(data)
        self.answers: dict[str, dict[str, Any]] = {}
        self.ready: set[str] = set()
        self.reasons: dict[str, str] = {}

    @property
    def names(self) -> list[str]:
        """Names of all sites, the unseen site last."""
        return [*self.training, *([self.unseen] if self.unseen else [])]

    def register(self, site: str, answer: Mapping[str, Any]) -> None:
        """Registers a site that joined or returned.

        Raises
        ------
        SiteError, ManifestError
            Network, initial tensors or images of the site are not those of the run. The message names the site.
        """
        self.manifest.check_same(Manifest.from_json(answer["manifest"]), f"site {site!r}")
        if answer["initial"] != self.initial:
            raise ManifestError(
                f"site {site!r}: its untrained tensors have digest {answer['initial']}, expected {self.initial}; "
                f"its versions are {answer['versions']}"
            )
        if self.data.setdefault(site, answer["data"]) != answer["data"]:
            raise SiteError(f"site {site!r}: its images or labels are not those that the run began with")
        self.answers[site] = dict(answer)
        self.ready.add(site)
        self.reasons.pop(site, None)

    def mark_missing(self, site: str, reason: str) -> None:
        """Notes that a site gave no valid answer, and the reason."""
        self.ready.discard(site)
        self.reasons[site] = reason.removeprefix(f"site {site!r}: ")

    def check_unseen(self) -> None:
        """Refuses to start without the unseen site.

        Raises
        ------
        SiteError
            The unseen site is not ready. The message has its reason.
        """
        if self.unseen is not None and self.unseen not in self.ready:
            reason = self.reasons.get(self.unseen, "no answer")
            raise SiteError(f"the unseen site {self.unseen!r} is not ready: {reason}")

    def check_enough(self) -> None:
        """Refuses to start with too few training sites.

        Raises
        ------
        SiteError
            Too few training sites are ready. The message has the reason of each missing site.
        """
        missing = {site: self.reasons.get(site, "no answer") for site in self.training if site not in self.ready}
        ready = [site for site in self.training if site in self.ready]
        if len(ready) < self.min_sites:
            raise SiteError(f"{len(ready)} sites joined, expected at least {self.min_sites}; not ready: {missing}")

    def released(self) -> dict[str, Any]:
        """Returns the result of the unseen site's preparations for the training sites: settings, and files as bytes."""
        answer = self.answers.get(self.unseen or "", {})
        return {name: answer[name] for name in ("settings", "files") if name in answer}

    @property
    def notes(self) -> list[str]:
        """Notes of the sites' preparations for the report, each note once."""
        return list(dict.fromkeys(note for site in self.names for note in self.answers.get(site, {}).get("notes", [])))

    def roles(self) -> list[dict[str, Any]]:
        """Returns name, role and number of training samples of every site."""
        return [
            {
                "name": site,
                "role": "unseen" if site == self.unseen else "training",
                "samples": self.answers.get(site, {}).get("samples", 0),
            }
            for site in self.names
        ]

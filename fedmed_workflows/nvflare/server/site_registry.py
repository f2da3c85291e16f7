"""What the sites of a federation said when they joined: one network, one set of frozen weights, the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedmed_workflows.errors import ManifestError, SiteError
from fedmed_workflows.exchange.manifest import Manifest


class SiteRegistry:
    """The sites of a run and what each of them said when it joined.

    Parameters
    ----------
    training
        Names of the training sites.
    unseen
        The unseen site's name, or None.
    manifest
        What a site must exchange.
    initial
        Digest of the exchanged tensors before round 1, which every site makes itself from the seed.
    min_sites
        Training sites that must have joined.
    data
        Digests of the sites' images that are known from before, by site.

    Attributes
    ----------
    ready
        Sites that answered last time they were asked.
    reasons
        Why a site is not ready, by its name.
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
        """All sites, the unseen one last."""
        return [*self.training, *([self.unseen] if self.unseen else [])]

    def register(self, site: str, answer: Mapping[str, Any]) -> None:
        """Takes up a site that joined, or came back.

        Raises
        ------
        SiteError, ManifestError
            Its network, its start or its images are not those of the run; the message names the site.
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

    def mark_missing(self, site: str, why: str) -> None:
        """A site did not answer, or not well."""
        self.ready.discard(site)
        self.reasons[site] = why.removeprefix(f"site {site!r}: ")

    def check_unseen(self) -> None:
        """Refuses to begin without the unseen site.

        Raises
        ------
        SiteError
            The message says what it said.
        """
        if self.unseen is not None and self.unseen not in self.ready:
            reason = self.reasons.get(self.unseen, "no answer")
            raise SiteError(f"the unseen site {self.unseen!r} is not ready: {reason}")

    def check_enough(self) -> None:
        """Refuses to begin with too few sites.

        Raises
        ------
        SiteError
            The message says what each missing site said.
        """
        missing = {site: self.reasons.get(site, "no answer") for site in self.training if site not in self.ready}
        ready = [site for site in self.training if site in self.ready]
        if len(ready) < self.min_sites:
            raise SiteError(f"{len(ready)} sites joined, expected at least {self.min_sites}; not ready: {missing}")

    def released(self) -> dict[str, Any]:
        """What the unseen site's preparations decided for the training sites: settings, and files as bytes."""
        answer = self.answers.get(self.unseen or "", {})
        return {name: answer[name] for name in ("settings", "files") if name in answer}

    @property
    def notes(self) -> list[str]:
        """What the sites' preparations have to say to the report's reader, each remark once."""
        return list(dict.fromkeys(note for site in self.names for note in self.answers.get(site, {}).get("notes", [])))

    def roles(self) -> list[dict[str, Any]]:
        """Every site's name, role and number of training samples."""
        return [
            {
                "name": site,
                "role": "unseen" if site == self.unseen else "training",
                "samples": self.answers.get(site, {}).get("samples", 0),
            }
            for site in self.names
        ]

"""The rounds of a run on the terminal: a bar that moves with every site's answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from tqdm import tqdm

from fedmed_workflows.federation.rounds import SiteEntries


class RoundProgress:
    """A bar of all sites' answers in all rounds, with the last loss and the bytes of the current round.

    Used as a context manager.

    Parameters
    ----------
    rounds
        Number of the last round.
    sites
        Number of the training sites.
    done
        Rounds that were done before.
    """

    def __init__(self, rounds: int, sites: int, done: int = 0) -> None:
        self.rounds, self.done = rounds, done
        self.bar = tqdm(total=rounds * sites, initial=done * sites, desc="federation", unit="site")

    def __enter__(self) -> RoundProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def __call__(self, number: int, sites: SiteEntries) -> None:
        """Shows the latest of a round's answers."""
        name = next(reversed(sites))
        loss = sites[name].get("loss", "failed" if "error" in sites[name] else "kept at the site")
        megabytes = sum(part["received_bytes"] + part.get("sent_bytes", 0) for part in sites.values()) / 1e6
        self.bar.set_description(f"round {number}/{self.rounds} {name}")
        self.bar.set_postfix({"loss": loss, "MB this round": f"{megabytes:.1f}"})
        self.bar.update()

    def catch_up(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Shows the entries of a history that were not shown yet."""
        for entry in history[self.done + 1 :]:
            self.done = entry["round"]
            names = list(entry["sites"])
            for count in range(1, len(names) + 1):
                self(self.done, {name: entry["sites"][name] for name in names[:count]})
            if "epsilon" in entry:
                tqdm.write(f"round {self.done}: epsilon {entry['epsilon']:.4g}")

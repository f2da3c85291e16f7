"""The progress bar of a run on the terminal. It advances with every answer of a site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from tqdm import tqdm

from fedmed_workflows.federation.rounds import SiteEntries


class RoundProgress:
    """Shows a progress bar of all answers in all rounds, with the last loss and the bytes of the current round.

    Use the object as a context manager.

    Parameters
    ----------
    rounds
        Number of the last round.
    sites
        Number of training sites.
    done
        Number of rounds that were complete before.
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
        """Shows the latest answer of a round."""
        name = next(reversed(sites))
        loss = sites[name].get("loss", "failed" if "error" in sites[name] else "kept at the site")
        megabytes = sum(part["received_bytes"] + part.get("sent_bytes", 0) for part in sites.values()) / 1e6
        self.bar.set_description(f"round {number}/{self.rounds} {name}")
        self.bar.set_postfix({"loss": loss, "MB this round": f"{megabytes:.1f}"})
        self.bar.update()

    def catch_up(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Shows those entries of a history that were not shown before."""
        for entry in history[self.done + 1 :]:
            self.done = entry["round"]
            names = list(entry["sites"])
            for count in range(1, len(names) + 1):
                self(self.done, {name: entry["sites"][name] for name in names[:count]})
            if "epsilon" in entry:
                tqdm.write(f"round {self.done}: epsilon {entry['epsilon']:.4g}")

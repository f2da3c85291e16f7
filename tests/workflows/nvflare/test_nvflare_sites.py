"""NVFlare's server as an engine: what goes to which site, and what becomes of those that do not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable, make_reply
from safetensors.torch import save_file

from fedmed_workflows.errors import SiteError
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import FileWeights, Update, weights_digest
from fedmed_workflows.nvflare.server.site_registry import SiteRegistry
from fedmed_workflows.nvflare.server.sites import NVFlareSites
from fedmed_workflows.nvflare.wire.messages import SAMPLES, failure, message

MANIFEST = Manifest({"weight": ([2], "float32")}, "frozen")
START = {"weight": torch.tensor([1.0, 2.0])}
FOLDER = TemporaryDirectory()
save_file(START, Path(FOLDER.name) / "initial.safetensors")
INITIAL = FileWeights(Path(FOLDER.name) / "initial.safetensors")


class Scripted:
    """Answers tasks as a test says, and keeps who was asked what, with or without weights."""

    def __init__(self, answer: Callable[[str, str, dict[str, Any]], Shareable | SiteError]) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, bool]] = []
        self.standing: dict[str, Callable[[str, Shareable], None]] = {}

    def ask(
        self,
        name: str,
        values: dict[str, Any],
        sites: Sequence[str],
        seconds: float | None = None,
        file: Path | None = None,
    ) -> Iterator[tuple[str, Shareable | SiteError]]:
        for site in sites:
            self.asked.append((name, site, file is not None))
            yield site, self.answer(name, site, {**values, "file": file})

    def fetch(self, source: dict[str, str], folder: Path) -> Path:
        return Path(FOLDER.name) / f"{source['file']}.safetensors"

    def stand(
        self, name: str, values: dict[str, Any], site: str, answered: Callable[[str, Shareable], None]
    ) -> None:
        self.standing[site] = answered


def opening(**changed: Any) -> Shareable:
    facts = {"manifest": MANIFEST.to_json(), "initial": weights_digest(START), "samples": 5, "data": "digest",
             "notes": ["a note"], "versions": {"torch": "2"}}  # fmt: skip
    return message(**{**facts, **changed})


def sound(name: str, site: str, data: dict[str, Any]) -> Shareable | SiteError:
    if name == "open":
        return opening()
    if name == "train":
        return message(source={"host": site, "file": "initial"}, metrics={"loss": 0.5}, **{SAMPLES: 5})
    return message(metrics={"dice": 0.25}) if name == "validate" else message(score='{"images": 3}')


def engine(tasks: Scripted, min_sites: int = 1, data: dict[str, str] | None = None) -> NVFlareSites:
    opened = SiteRegistry(["b", "a"], "u", MANIFEST, weights_digest(START), min_sites, data or {})
    return NVFlareSites(tasks, opened, INITIAL, 9.0, Path(FOLDER.name) / "incoming")  # type: ignore[arg-type]


def test_an_aggregate_goes_to_a_site_once() -> None:
    tasks = Scripted(sound)
    sites = engine(tasks)
    sites.open([])
    assert sites.validate(INITIAL, 0) == {"a": {"dice": 0.25}, "b": {"dice": 0.25}, "u": {"dice": 0.25}}
    updates = dict(sites.train(INITIAL, 1))
    assert isinstance(updates["a"], Update) and updates["a"].samples == 5 and updates["a"].metrics == {"loss": 0.5}
    assert torch.equal(updates["a"].weights["weight"], START["weight"])
    assert sites.score(INITIAL, 0)["u"] == {"images": 3}
    assert tasks.asked == [
        ("open", "u", False), ("open", "a", False), ("open", "b", False),
        ("validate", "a", True), ("validate", "b", True), ("validate", "u", True),
        ("train", "a", False), ("train", "b", False),
        ("score", "a", False), ("score", "b", False), ("score", "u", False),
    ]  # fmt: skip


def test_a_site_that_lost_the_aggregate_gets_it_again_in_the_same_round() -> None:
    def restarted(name: str, site: str, data: dict[str, Any]) -> Shareable | SiteError:
        if name == "train" and site == "b" and data["file"] is None:
            return message(needs_weights=True)
        return sound(name, site, data)

    tasks = Scripted(restarted)
    sites = engine(tasks)
    sites.open([])
    sites.validate(INITIAL, 0)
    assert {name for name, result in sites.train(INITIAL, 1) if isinstance(result, Update)} == {"a", "b"}
    assert tasks.asked[-3:] == [("train", "a", False), ("train", "b", False), ("train", "b", True)]


def test_a_site_that_does_not_answer_is_left_alone_until_it_answers_again() -> None:
    away: set[str] = {"b"}

    def answer(name: str, site: str, data: dict[str, Any]) -> Shareable | SiteError:
        return SiteError(f"site {site!r}: no answer within 9 seconds") if site in away else sound(name, site, data)

    tasks = Scripted(answer)
    sites = engine(tasks)
    away.clear()
    sites.open([])
    sites.validate(INITIAL, 0)
    away.add("b")
    first = dict(sites.train(INITIAL, 1))
    assert "no answer within 9 seconds" in str(first["b"]) and isinstance(first["a"], Update)
    assert set(sites.validate(INITIAL, 1)) == {"a", "u"}
    asked = len(tasks.asked)
    second = dict(sites.train(INITIAL, 2))
    assert "site 'b': no answer within 9 seconds" in str(second["b"])
    assert all(site != "b" for _, site, _ in tasks.asked[asked:])
    away.clear()
    tasks.standing["b"]("b", opening())
    assert set(sites.validate(INITIAL, 2)) == {"a", "b", "u"}
    assert all(isinstance(result, Update) for result in dict(sites.train(INITIAL, 3)).values())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (failure("site 'b': the state after round 2 is missing"), "'b': 'the state after round 2 is missing'"),
        (make_reply(ReturnCode.EXECUTION_EXCEPTION), "NVFlare reports EXECUTION_EXCEPTION"),
        (Shareable(), "its answer is not a message of a federation"),
        (opening(initial="other"), "its untrained tensors have digest other"),
        (opening(data="other"), "its images or labels are not those that the run began with"),
        (opening(manifest={**MANIFEST.to_json(), "frozen": "other"}), "its frozen weights have digest other"),
        (opening(manifest={"tensors": {}, "frozen": "frozen"}), "exchanges other tensors than the manifest"),
    ],
)
def test_a_site_that_cannot_join_is_named_with_its_reason(answer: Shareable, said: str) -> None:
    def one_bad(name: str, site: str, data: dict[str, Any]) -> Shareable | SiteError:
        return answer if site == "b" else sound(name, site, data)

    with pytest.raises(SiteError, match="1 sites joined, expected at least 2") as refused:
        engine(Scripted(one_bad), min_sites=2, data={"b": "digest"}).open([])
    assert said in str(refused.value)
    engine(Scripted(one_bad), min_sites=1, data={"b": "digest"}).open([])


def test_without_the_unseen_site_nothing_begins() -> None:
    def away(name: str, site: str, data: dict[str, Any]) -> Shareable | SiteError:
        return SiteError("site 'u': is not connected") if site == "u" else sound(name, site, data)

    with pytest.raises(SiteError, match="the unseen site 'u' is not ready: is not connected"):
        engine(Scripted(away)).open([])


def test_each_site_hears_which_of_its_states_must_be_there() -> None:
    heard: dict[str, Any] = {}

    def listening(name: str, site: str, data: dict[str, Any]) -> Shareable | SiteError:
        heard[site] = data.get("contributed")
        return sound(name, site, data)

    history = [
        {"round": 0},
        {"round": 1, "sites": {"a": {"loss": 1}, "b": {"loss": 1}}},
        {"round": 2, "sites": {"a": {"loss": 1}, "b": {"error": "away"}}},
    ]
    engine(Scripted(listening)).open(history)
    assert heard["a"] == heard["b"] == {"a": 2, "b": 1}

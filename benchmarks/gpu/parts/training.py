"""Correctness of training: rounds on the device beside the CPU, a resumed federation, bfloat16 beside float32."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.gpu.part import PartRun, expect
from benchmarks.gpu.parts.sites import METHODS, federation, make_site

LOSS_TOLERANCE = 1e-4
"""Of the loss of a round on the device, relative to the loss on the CPU."""

UPDATE_TOLERANCE = 1e-3
"""Of ||update on the device - update on the CPU|| / ||update on the CPU||, by SGD.

Adam would make full steps of gradients that are zero but for rounding, as those of a bias before a normalisation.
"""

DICE_TOLERANCE, BFLOAT16_LOSS_TOLERANCE = 0.02, 0.05
"""Between bfloat16 and float32: of Dice of the same weights, and of the loss of round 1, relative to float32's."""

SGD = {"_target_": "torch.optim.SGD", "lr": 0.01,
       "params": {"_target_": "fedmed_workflows.trainable_parameters", "network": "@network"}}  # fmt: skip


def rounds(run: PartRun) -> None:
    """Trains a round of each method on the CPU and on the device, from the same weights and on the same batches.

    TF32 is off: torch's convolutions would round to 10 bits on a GPU. The difference with it is a figure of its own.
    """
    torch.backends.cudnn.allow_tf32 = False
    for name in METHODS:
        loss, update = _round(run, name, torch.device("cpu"), "cpu")
        with run.other_rounding:
            found, other = _round(run, name, run.device, "device")
        figures = {"loss": abs(found - loss) / loss, "update": _relative(other, update)}
        run.record(**{name: figures})
        expect(figures["loss"] <= LOSS_TOLERANCE, f"{name}: relative difference of the loss {figures['loss']}")
        expect(figures["update"] <= UPDATE_TOLERANCE, f"{name}: relative difference of the update {figures['update']}")
        if run.device.type == "cuda" and name in ("FedMSA", "FedU-Net"):
            torch.backends.cudnn.allow_tf32 = True
            found, other = _round(run, name, run.device, "tf32")
            torch.backends.cudnn.allow_tf32 = False
            run.record(**{f"{name}, TF32": {"loss": abs(found - loss) / loss, "update": _relative(other, update)}})


def _round(run: PartRun, name: str, device: torch.device, place: str) -> tuple[float, torch.Tensor]:
    """Returns the loss and the update of the first round, the latter as one vector."""
    site = make_site(name, run.folder, place, device, optimizer=SGD)
    start = site.initial_weights()
    update = site.fit_round(start, 1)
    changes = [(update.weights[key].double() - start[key].double()).reshape(-1) for key in sorted(start)]
    return update.metrics["loss"], torch.cat(changes)


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def resume(run: PartRun) -> None:
    """Runs federations of two sites twice, the second time broken off in round 2 and started again.

    The weights must have equal bits if torch is asked for them as docs/federation.md says. Whether they have equal bits
    without that is a figure.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS reads it once
    for name in ("FACMIC",) if run.small else ("FACMIC", "FedMSA"):
        for asked in (True,) if run.small else (False, True):
            torch.use_deterministic_algorithms(False)
            kind = f"{name}, asked for equal bits" if asked else name
            same = _ends_the_same(run, name, f"{name}_{asked}", asked)
            run.record(**{kind: "equal bits" if same else "other bits"})
            expect(torch.are_deterministic_algorithms_enabled() is asked, f"{kind}: the overlay had no effect")
            expect(same or not asked, f"{kind}: the resumed run ends with other bits")


def _ends_the_same(run: PartRun, name: str, place: str, asked: bool) -> bool:
    from fedmed_workflows import SiteAlgo

    whole = federation(name, run.folder, f"{place}_whole", run.device, asked)
    fit = SiteAlgo.fit_round

    def broken(site: SiteAlgo, weights: Mapping[str, torch.Tensor], number: int) -> Any:
        if number == 2 and site.site == "riverbend":
            raise KeyboardInterrupt
        return fit(site, weights, number)

    with mock.patch.object(SiteAlgo, "fit_round", broken):
        try:
            federation(name, run.folder, f"{place}_broken", run.device, asked)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("the run was not broken off")
    again = federation(name, run.folder, f"{place}_broken", run.device, asked)
    return _last(whole) == _last(again)


def _last(folder: Path) -> bytes:
    return (folder / "checkpoints" / "round_00002.safetensors").read_bytes()


def precision(run: PartRun) -> None:
    """Trains FedMSA some rounds in float32 and in bfloat16; compares the first loss, and Dice of the same weights.

    Later the losses part, as those of two seeds do; they are figures.
    """
    kinds = ("float32", "bfloat16")
    sites = {kind: make_site("FedMSA", run.folder, kind, run.device, precision=kind, learning_rate=3e-3)
             for kind in kinds}  # fmt: skip
    trained = {kind: _trained(sites[kind], 2 if run.small else 15) for kind in kinds}
    losses = {kind: trained[kind][0][0] for kind in kinds}
    dice = {kind: _dice(sites[kind], trained["float32"][1]) for kind in kinds}
    run.record(losses={kind: trained[kind][0] for kind in kinds}, dice_of_the_same_weights=dice)
    run.record(dice_of_bfloat16=_dice(sites["bfloat16"], trained["bfloat16"][1]))
    loss, difference = abs(losses["bfloat16"] / losses["float32"] - 1), abs(dice["bfloat16"] - dice["float32"])
    run.record(relative_loss_difference=loss, dice_difference=difference)
    expect(difference <= DICE_TOLERANCE, f"Dice differs by {difference}, expected at most {DICE_TOLERANCE}")
    expect(loss <= BFLOAT16_LOSS_TOLERANCE, f"the loss differs by {loss}, expected at most {BFLOAT16_LOSS_TOLERANCE}")


def _trained(site: Any, rounds: int) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Returns the loss of every round and the weights after the last one."""
    weights, losses = site.initial_weights(), []
    for number in range(1, rounds + 1):
        update = site.fit_round(weights, number)
        weights = dict(update.weights)
        losses.append(update.metrics["loss"])
    return losses, weights


def _dice(site: Any, weights: dict[str, torch.Tensor]) -> float:
    from monai.fl.utils.exchange_object import ExchangeObject

    return float(site.evaluate(ExchangeObject(weights=weights)).metrics["val_mean_dice"])

"""Correctness of training: rounds on the device beside the CPU, a resumed federation, bfloat16 beside float32."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.gpu.part import PartRun, expect
from benchmarks.gpu.sites import METHODS, federation, make_site

LOSS_TOLERANCE = 1e-4
"""Of the loss of a round on the device, relative to the loss on the CPU."""

UPDATE_TOLERANCE = 1e-3
"""Of ||update on the device - update on the CPU|| / ||update on the CPU||, by SGD.

Adam would make full steps of gradients that are zero but for rounding, as those of a bias before a normalisation.
"""

DICE_TOLERANCE, BFLOAT16_LOSS_TOLERANCE = 0.05, 0.05
"""Between bfloat16 and float32 after some rounds of FedMSA: of Dice, and of the loss relative to float32's."""

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

    The weights must have equal bits if torch is asked for deterministic algorithms, as federation.md advises. Whether
    they have them without that is a figure.
    """
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS reads it once
    for name in ("FACMIC",) if run.small else ("FACMIC", "FedMSA"):
        for asked in (True,) if run.small else (False, True):
            torch.use_deterministic_algorithms(asked)
            kind = f"{name}, deterministic" if asked else name
            same = _ends_the_same(run, name, kind.replace(", ", "_"))
            run.record(**{kind: "equal bits" if same else "other bits"})
            expect(same or not asked, f"{kind}: the resumed run ends with other bits")
    torch.use_deterministic_algorithms(False)


def _ends_the_same(run: PartRun, name: str, place: str) -> bool:
    from fedmed_workflows import SiteAlgo

    whole = federation(name, run.folder, f"{place}_whole", run.device)
    fit = SiteAlgo.fit_round

    def broken(site: SiteAlgo, weights: Mapping[str, torch.Tensor], number: int) -> Any:
        if number == 2 and site.site == "riverbend":
            raise KeyboardInterrupt
        return fit(site, weights, number)

    with mock.patch.object(SiteAlgo, "fit_round", broken):
        try:
            federation(name, run.folder, f"{place}_broken", run.device)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("the run was not broken off")
    again = federation(name, run.folder, f"{place}_broken", run.device)
    return _last(whole) == _last(again)


def _last(folder: Path) -> bytes:
    return (folder / "checkpoints" / "round_00002.safetensors").read_bytes()


def precision(run: PartRun) -> None:
    """Trains FedMSA some rounds in float32 and in bfloat16, and compares loss and Dice."""
    found = {kind: _trained(run, kind) for kind in ("float32", "bfloat16")}
    run.record(**{f"{kind}_{key}": value for kind, values in found.items() for key, value in values.items()})
    dice = abs(found["bfloat16"]["dice"] - found["float32"]["dice"])
    loss = abs(found["bfloat16"]["loss"] / found["float32"]["loss"] - 1)
    run.record(dice_difference=dice, relative_loss_difference=loss)
    expect(dice <= DICE_TOLERANCE, f"Dice differs by {dice}, expected at most {DICE_TOLERANCE}")
    expect(loss <= BFLOAT16_LOSS_TOLERANCE, f"the loss differs by {loss}, expected at most {BFLOAT16_LOSS_TOLERANCE}")


def _trained(run: PartRun, kind: str) -> dict[str, float]:
    from monai.fl.utils.exchange_object import ExchangeObject

    site = make_site("FedMSA", run.folder, kind, run.device, precision=kind, learning_rate=3e-3)
    weights = site.initial_weights()
    for number in range(1, (3 if run.small else 13)):
        update = site.fit_round(weights, number)
        weights = dict(update.weights)
    metrics = site.evaluate(ExchangeObject(weights=weights)).metrics
    return {"loss": update.metrics["loss"], "dice": metrics["val_mean_dice"]}

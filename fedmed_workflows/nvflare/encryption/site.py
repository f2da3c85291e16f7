"""The site's part of encrypted rounds. NVFlare's filters decrypt each task and encrypt each update."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.app_common.app_constant import AppConstants

from fedmed_workflows.errors import ManifestError
from fedmed_workflows.exchange.manifest import Manifest
from fedmed_workflows.exchange.weights import Weights, weights_digest
from fedmed_workflows.federation.site.site_algo import SiteAlgo
from fedmed_workflows.nvflare.site.executor import SiteExecutor, job_of
from fedmed_workflows.nvflare.wire.messages import SAMPLES, message

MODEL = "model.pt"
"""File of the trained network in the site's folder. Only the sites can write it, as only they have the key."""


class EncryptedSite(SiteExecutor):
    """Answers the tasks of NVFlare's workflow for encrypted rounds, see :class:`SiteExecutor`.

    A filter of NVFlare decrypts each task before this class, and another filter encrypts each update after it. The job
    names both filters; the key is in the site's start-up kit. The class has no arguments.
    """

    def _train(self, site: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        algo = self._join(site, fl_ctx, {}, {}).algo
        received, number = decrypted(from_shareable(shareable).data, algo.manifest, site), _round(shareable)
        if number == 1:
            self._check_start(site, algo, received, fl_ctx)
        update = algo.fit_round(received, number)
        arrays = {name: value.double().numpy() for name, value in update.weights.items()}
        answer: Shareable = DXO(DataKind.WEIGHTS, data=arrays, meta={SAMPLES: update.samples}).to_shareable()
        return answer

    def _score(self, site: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        algo = self._join(site, fl_ctx, {}, {}).algo
        weights = decrypted(from_shareable(shareable).data, algo.manifest, site)
        algo.save_model(weights, algo.state.folder / MODEL)
        return message(score=json.dumps(algo.score(weights)))

    def _check_start(self, site: str, algo: SiteAlgo, received: Weights, fl_ctx: FLContext) -> None:
        """Compares network and initial tensors of this site with the job, as the server cannot decrypt them."""
        Manifest.from_json(job_of(fl_ctx)["manifest"]).check_same(algo.manifest, f"site {site!r}")
        if weights_digest(received) != weights_digest(self._initial):
            raise ManifestError(f"site {site!r}: its untrained tensors are not those that the server sent")


def decrypted(values: Mapping[str, Any], manifest: Manifest, site: str) -> Weights:
    """Converts a decrypted aggregate, whose tensors are flat sequences of numbers, to the tensors of the manifest.

    Integer tensors, whose encrypted values are averaged like real numbers, are rounded.

    Raises
    ------
    ManifestError
        The names differ from the manifest, or a tensor has another number of values.
    """
    if set(values) != set(manifest.tensors):
        raise ManifestError(f"site {site!r}: received {sorted(values)}, the manifest has {sorted(manifest.tensors)}")
    return {name: _tensor(name, values[name], *spec, site) for name, spec in manifest.tensors.items()}


def _tensor(name: str, values: Any, shape: list[int], dtype: str, site: str) -> torch.Tensor:
    flat = torch.as_tensor(values, dtype=torch.float64).flatten()  # (values,)
    if flat.numel() != torch.Size(shape).numel():
        raise ManifestError(f"site {site!r}: tensor {name}: received {flat.numel()} values, expected shape {shape}")
    kind = getattr(torch, dtype)
    return (flat if kind.is_floating_point else flat.round()).reshape(shape).to(kind)  # shape of the manifest


def _round(shareable: Shareable) -> int:
    """Returns the number of a round, starting with 1. NVFlare counts from 0."""
    return int(shareable.get_header(AppConstants.CURRENT_ROUND)) + 1

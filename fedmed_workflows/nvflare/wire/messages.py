"""Messages between NVFlare's server and its sites: values by name, and tensors in the form of NVFlare's filters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.app_opt.pt.decomposers import TensorDecomposer
from nvflare.fuel.utils import fobs

from fedmed_workflows.errors import SiteError
from fedmed_workflows.exchange.filtered_update import FilteredWeights
from fedmed_workflows.exchange.weights import Update

OPEN, TRAIN, VALIDATE, SCORE = "open", "train", "validate", "score"
"""The tasks of a site."""

SAMPLES = MetaKey.NUM_STEPS_CURRENT_ROUND
"""Name under which NVFlare's components expect the weight of a site in the aggregate."""

_ERROR = "fedmed_error"


def register_tensors() -> None:
    """Registers tensors with NVFlare's serialization in this process."""
    fobs.register(TensorDecomposer)


def message(**values: Any) -> Shareable:
    """Builds a message of plain values by name."""
    shareable: Shareable = DXO(DataKind.APP_DEFINED, data=values).to_shareable()
    return shareable


def with_difference(values_by_name: Mapping[str, NDArray[np.float32]], **values: Any) -> Shareable:
    """Builds a message of tensor differences by name, with additional plain values."""
    shareable: Shareable = DXO(DataKind.WEIGHT_DIFF, data=dict(values_by_name), meta=values).to_shareable()
    return shareable


def failure(text: str) -> Shareable:
    """Builds the answer of a site that failed, with the error message. The text leaves the site."""
    reply: Shareable = make_reply(ReturnCode.EXECUTION_EXCEPTION)
    reply.set_header(_ERROR, text)
    return reply


def message_values(shareable: Shareable, sender: str) -> dict[str, Any]:
    """Returns the plain values of a message.

    Raises
    ------
    SiteError
        The sender reports a failure, or the message does not belong to a federation. The error message names the
        sender.
    """
    dxo = _content(shareable, sender)
    return dict((dxo.meta if dxo.data_kind == DataKind.WEIGHT_DIFF else dxo.data) or {})


def filtered_update(shareable: Shareable, site: str, received: Mapping[str, torch.Tensor]) -> Update:
    """Returns the update of a site after NVFlare's filters.

    Parameters
    ----------
    shareable
        The answer of the site, from :func:`with_difference`.
    site
        Name of the site.
    received
        The aggregate from which the site trained.

    Raises
    ------
    SiteError, ManifestError
        As :func:`message_values`, or the message has no difference of the aggregate's tensors.
    """
    dxo, values = _content(shareable, site), message_values(shareable, site)
    if dxo.data_kind != DataKind.WEIGHT_DIFF:
        raise SiteError(f"site {site!r}: its answer is not a difference of tensors for filters")
    weights = FilteredWeights(received, dxo.data, f"site {site!r}")
    return Update(weights, values.get(SAMPLES), dict(values.get("metrics") or {}))  # type: ignore[arg-type]


def _content(shareable: Shareable, sender: str) -> DXO:
    code = shareable.get_return_code(ReturnCode.OK)
    if code != ReturnCode.OK:
        raise SiteError(shareable.get_header(_ERROR) or f"site {sender!r}: NVFlare reports {code}")
    try:
        return from_shareable(shareable)
    except ValueError as error:
        raise SiteError(f"site {sender!r}: its answer is not a message of a federation: {error}") from error

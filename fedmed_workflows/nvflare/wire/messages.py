"""What travels between NVFlare's server and its sites: values by name, and tensors as NVFlare's filters expect them."""

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
"""Under which name NVFlare's own components look for a site's weight in the aggregate."""

_ERROR = "fedmed_error"


def register_tensors() -> None:
    """Makes tensors known to NVFlare's serialization in this process."""
    fobs.register(TensorDecomposer)


def message(**values: Any) -> Shareable:
    """A message of plain values by name."""
    shareable: Shareable = DXO(DataKind.APP_DEFINED, data=values).to_shareable()
    return shareable


def with_difference(values_by_name: Mapping[str, NDArray[np.float32]], **values: Any) -> Shareable:
    """A message of differences of tensors by name, with plain values beside them."""
    shareable: Shareable = DXO(DataKind.WEIGHT_DIFF, data=dict(values_by_name), meta=values).to_shareable()
    return shareable


def failure(text: str) -> Shareable:
    """A site's answer that says why there is none. The text leaves the site."""
    reply: Shareable = make_reply(ReturnCode.EXECUTION_EXCEPTION)
    reply.set_header(_ERROR, text)
    return reply


def message_values(shareable: Shareable, sender: str) -> dict[str, Any]:
    """The plain values of a message.

    Raises
    ------
    SiteError
        The sender reports a failure, or the message is none of ours; the message says which, and whose it is.
    """
    dxo = _content(shareable, sender)
    return dict((dxo.meta if dxo.data_kind == DataKind.WEIGHT_DIFF else dxo.data) or {})


def filtered_update(shareable: Shareable, site: str, received: Mapping[str, torch.Tensor]) -> Update:
    """A site's update to which filters of NVFlare were applied.

    Parameters
    ----------
    shareable
        The site's answer, of :func:`with_difference`.
    site
        Its name.
    received
        The aggregate that it trained from.

    Raises
    ------
    SiteError, ManifestError
        As :func:`message_values`, or the message holds no difference of the aggregate's tensors.
    """
    dxo, values = _content(shareable, site), message_values(shareable, site)
    if dxo.data_kind != DataKind.WEIGHT_DIFF:
        raise SiteError(f"site {site!r}: its answer is no difference that filters were applied to")
    weights = FilteredWeights(received, dxo.data, f"site {site!r}")
    return Update(weights, values.get(SAMPLES), dict(values.get("metrics") or {}))  # type: ignore[arg-type]


def _content(shareable: Shareable, sender: str) -> DXO:
    code = shareable.get_return_code(ReturnCode.OK)
    if code != ReturnCode.OK:
        raise SiteError(shareable.get_header(_ERROR) or f"site {sender!r}: NVFlare reports {code}")
    try:
        return from_shareable(shareable)
    except ValueError as error:
        raise SiteError(f"site {sender!r}: its answer is no message of a federation: {error}") from error

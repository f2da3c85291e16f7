"""What travels between NVFlare's server and its sites: values by name, and tensors as NVFlare's filters expect them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.app_opt.pt.decomposers import TensorDecomposer
from nvflare.fuel.utils import fobs

from fedmed_workflows.aggregation import Update
from fedmed_workflows.filtered_update import FilteredWeights
from fedmed_workflows.site_error import SiteError

OPEN, TRAIN, VALIDATE, SCORE = "open", "train", "validate", "score"
"""The tasks of a site."""

SAMPLES = MetaKey.NUM_STEPS_CURRENT_ROUND
"""Under which name NVFlare's own components look for a site's weight in the aggregate."""

_ERROR = "fedmed_error"


class LazyWeights(Mapping[str, torch.Tensor]):
    """Tensors by name, each read when it is asked for: NVFlare leaves large answers on the server's disk.

    Parameters
    ----------
    values
        Tensors, arrays, or NVFlare's references to tensors on a disk.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> torch.Tensor:
        value = self._values[name]
        return torch.as_tensor(value.materialize() if hasattr(value, "materialize") else value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def register_tensors() -> None:
    """Makes tensors known to NVFlare's serialization in this process."""
    fobs.register(TensorDecomposer)


def message(**values: Any) -> Shareable:
    """A message of plain values by name."""
    shareable: Shareable = DXO(DataKind.APP_DEFINED, data=values).to_shareable()
    return shareable


def with_weights(weights: Mapping[str, torch.Tensor], **values: Any) -> Shareable:
    """A message of tensors by name, with plain values beside them."""
    shareable: Shareable = DXO(DataKind.WEIGHTS, data=dict(weights), meta=values).to_shareable()
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


def values_of(shareable: Shareable, sender: str) -> dict[str, Any]:
    """The plain values of a message.

    Raises
    ------
    SiteError
        The sender reports a failure, or the message is none of ours; the message says which, and whose it is.
    """
    dxo = _content(shareable, sender)
    return dict((dxo.meta if dxo.data_kind in (DataKind.WEIGHTS, DataKind.WEIGHT_DIFF) else dxo.data) or {})


def weights_of(shareable: Shareable, sender: str) -> Mapping[str, torch.Tensor] | None:
    """The tensors of a message, or None if it has none.

    Raises
    ------
    SiteError
        As :func:`values_of`.
    """
    dxo = _content(shareable, sender)
    return LazyWeights(dxo.data) if dxo.data_kind == DataKind.WEIGHTS else None


def update_of(shareable: Shareable, site: str, filtered_from: Mapping[str, torch.Tensor] | None = None) -> Update:
    """A site's update.

    Parameters
    ----------
    shareable
        The site's answer.
    site
        Its name.
    filtered_from
        The aggregate that it trained from, if filters of NVFlare are to have been applied to its difference.

    Raises
    ------
    SiteError, ManifestError
        As :func:`values_of`, or the message does not hold what was asked for.
    """
    weights, values = weights_of(shareable, site), values_of(shareable, site)
    if filtered_from is not None:
        weights = _filtered(shareable, site, filtered_from)
    if weights is None:
        raise SiteError(f"site {site!r}: its answer holds no tensors")
    return Update(weights, values.get(SAMPLES), dict(values.get("metrics") or {}))  # type: ignore[arg-type]


def _filtered(shareable: Shareable, site: str, received: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    dxo = _content(shareable, site)
    if dxo.data_kind != DataKind.WEIGHT_DIFF:
        raise SiteError(f"site {site!r}: its answer is no difference that filters were applied to")
    return FilteredWeights(received, dxo.data, f"site {site!r}")


def _content(shareable: Shareable, sender: str) -> DXO:
    code = shareable.get_return_code(ReturnCode.OK)
    if code != ReturnCode.OK:
        raise SiteError(shareable.get_header(_ERROR) or f"site {sender!r}: NVFlare reports {code}")
    try:
        return from_shareable(shareable)
    except ValueError as error:
        raise SiteError(f"site {sender!r}: its answer is no message of a federation: {error}") from error

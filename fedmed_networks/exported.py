"""Networks that were exported, as files of TorchScript or ONNX, in the place of those that they were exported from."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.data.torchscript_utils import METADATA_FILENAME
from torch import nn


class ExportedNetwork(nn.Module, ABC):
    """What exported networks share: what they take, what they must answer, and errors that name the file.

    Parameters
    ----------
    path
        The exported network.
    class_names
        The classes or segments C, in the order of the logits.
    image_size
        Side S of the square input, in pixels.

    Raises
    ------
    ValueError
        There is no such file.
    """

    def __init__(self, path: str | Path, class_names: Sequence[str], image_size: int) -> None:
        super().__init__()
        self.path, self.class_names, self.image_size = Path(path), list(class_names), int(image_size)
        if not self.path.is_file():
            raise ValueError(f"{self.path}: no such file, expected a network; export it from the bundle first")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of pictures: (B, 3, S, S) -> (B, C) or (B, C, H, W), as the network that was exported gives them.

        Raises
        ------
        ValueError
            The pictures are of another shape.
        """
        if image.ndim != 4 or tuple(image.shape[1:]) != self._taken:
            raise ValueError(f"{self.path}: image: expected shape (B, {self._listed}), found {tuple(image.shape)}")
        logits = self._answer(image.as_tensor() if isinstance(image, MetaTensor) else image)
        return MetaTensor(logits).copy_meta_from(image) if isinstance(image, MetaTensor) else logits

    @property
    def _taken(self) -> tuple[int, int, int]:
        return 3, self.image_size, self.image_size

    @property
    def _listed(self) -> str:
        return ", ".join(map(str, self._taken))

    @abstractmethod
    def _answer(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of pictures of the right shape, on the device of the pictures."""

    def _check_classes(self, found: int) -> None:
        if found != len(self.class_names):
            raise ValueError(
                f"{self.path}: found a network of {found} classes, expected {len(self.class_names)}: {self.class_names}"
            )


class TorchScriptNetwork(ExportedNetwork):
    """A network that MONAI's ``ckpt_export`` wrote, or any other in TorchScript of the same input and output.

    Parameters
    ----------
    path, class_names, image_size
        As of :class:`ExportedNetwork`.

    Raises
    ------
    ValueError
        There is no such file, it is no TorchScript, or the network in it takes other pictures or has other classes;
        their names are compared with those of the metadata that ``ckpt_export`` writes into the file.
    """

    def __init__(self, path: str | Path, class_names: Sequence[str], image_size: int) -> None:
        super().__init__(path, class_names, image_size)
        files = {METADATA_FILENAME: ""}  # MONAI's own reader refuses a file without metadata
        try:
            self.network = torch.jit.load(str(self.path), map_location="cpu", _extra_files=files)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{self.path}: expected a network in TorchScript, found: {error}") from error
        self.requires_grad_(False).eval()
        self._check_names(json.loads(files[METADATA_FILENAME] or "{}"))
        self._check_answer()

    def _answer(self, image: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.network(image)
        return answer

    def _check_names(self, metadata: Mapping[str, Any]) -> None:
        output = metadata.get("network_data_format", {}).get("outputs", {}).get("pred", {})
        found = list(output.get("channel_def", {}).values())
        if found and found not in (self.class_names, ["background", *self.class_names]):
            raise ValueError(
                f"{self.path}: its metadata name the classes {found}, expected {self.class_names}; export it with the "
                "metadata of the trained bundle"
            )

    def _check_answer(self) -> None:
        """TorchScript says nothing of its shapes: one picture tells."""
        try:
            with torch.no_grad():
                answer = self(torch.zeros(1, *self._taken))
        except RuntimeError as error:
            raise ValueError(
                f"{self.path}: expected a network of pictures of shape ({self._listed}), one that refuses them: {error}"
            ) from error
        self._check_classes(answer.shape[1] if answer.ndim > 1 else 0)


class OnnxNetwork(ExportedNetwork):
    """A network that MONAI's ``onnx_export`` wrote, or any other in ONNX of the same input and output.

    Parameters
    ----------
    path, class_names, image_size
        As of :class:`ExportedNetwork`.
    device
        Where the pictures are; by default decides who computes, see `providers`.
    providers
        ONNX Runtime's execution providers in the order of preference: a name, or a name with its options. None for
        CUDA's on a GPU, and the processor's otherwise.

    Raises
    ------
    ValueError
        There is no such file, it is no ONNX, the network in it takes other pictures or has another number of classes,
        ONNX Runtime is not installed, or has no such provider.
    """

    def __init__(
        self,
        path: str | Path,
        class_names: Sequence[str],
        image_size: int,
        device: str | torch.device = "cpu",
        providers: Sequence[Provider] | None = None,
    ) -> None:
        super().__init__(path, class_names, image_size)
        on_gpu = torch.device(device).type == "cuda"
        chosen = providers or ["CUDAExecutionProvider" if on_gpu else "CPUExecutionProvider"]
        self.session = onnx_session(self.path, chosen)
        taken, answered = (part[0].shape for part in (self.session.get_inputs(), self.session.get_outputs()))
        if not _fits(taken[1:], self._taken):
            raise ValueError(
                f"{self.path}: expected a network of pictures of shape ({self._listed}), found one of {taken[1:]}"
            )
        self._check_classes(answered[1] if len(answered) > 1 else 0)

    def _answer(self, image: torch.Tensor) -> torch.Tensor:
        name = self.session.get_inputs()[0].name
        answer = self.session.run(None, {name: image.detach().float().contiguous().cpu().numpy()})[0]
        return torch.from_numpy(answer).to(image.device)


def _fits(declared: Sequence[int | str], sides: Sequence[int]) -> bool:
    """Whether a declared shape takes another; a name or an expression in it takes any side."""
    return len(declared) == len(sides) and all(
        not isinstance(found, int) or found == side for found, side in zip(declared, sides, strict=True)
    )


Provider = str | tuple[str, Mapping[str, Any]]
"""Name of an execution provider of ONNX Runtime, or ``(name, options)``."""


def onnx_session(path: Path, providers: Sequence[Provider]) -> Any:
    """An inference session of ONNX Runtime, with as many threads as torch has.

    Parameters
    ----------
    path
        The network.
    providers
        In the order of preference.

    Raises
    ------
    ValueError
        ONNX Runtime is not installed, has none of the providers named first, or the file is no ONNX.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(
            f"{path}: needs the package onnxruntime, found none; expected pip install 'fedmed[onnx]'"
        ) from error
    chosen = [_named(provider) for provider in providers]
    available = onnxruntime.get_available_providers()
    missing = [name for name, _ in chosen if name not in available]
    if missing:
        raise ValueError(
            f"{path}: ONNX Runtime has no {', '.join(missing)} here, only {available}; providers of NVIDIA's GPUs are "
            "in the package onnxruntime-gpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=chosen)
    except Exception as error:  # ONNX Runtime has one of its own for every way a file can be no network
        raise ValueError(f"{path}: expected a network in ONNX, found: {error}") from error
    _check_provider(path, chosen[0][0], session.get_providers())
    return session


def _named(provider: Provider) -> tuple[str, Mapping[str, Any]]:
    return (provider, {}) if isinstance(provider, str) else (provider[0], dict(provider[1]))


def _check_provider(path: Path, first: str, used: Sequence[str]) -> None:
    """ONNX Runtime goes on without a provider whose libraries it cannot load, and says so in its log alone."""
    if first not in used:
        raise ValueError(f"{path}: ONNX Runtime could not start {first} and fell back to {list(used)}; see its log")

"""Exported networks: files in TorchScript or ONNX take the place of the network that they were exported from."""

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

from fedmed_networks.engine_cache import EngineCache
from fedmed_networks.file_digests import check_digest

Provider = str | tuple[str, Mapping[str, Any]]
"""Name of an execution provider of ONNX Runtime, or ``(name, options)``."""


class ExportedNetwork(nn.Module, ABC):
    """Classifies or segments pictures with an exported network; shapes are checked, and errors name the file.

    Parameters
    ----------
    path
        File of the exported network.
    class_names
        The C classes or segments, in the order of the logits.
    image_size
        Side S of the square input, in pixels.

    Raises
    ------
    ValueError
        The file does not exist, or is not the one that ``SHA256SUMS`` in its folder lists.
    """

    def __init__(self, path: str | Path, class_names: Sequence[str], image_size: int) -> None:
        super().__init__()
        self.path, self.class_names, self.image_size = Path(path), list(class_names), int(image_size)
        if not self.path.is_file():
            raise ValueError(f"{self.path}: no such file, expected a network; export it from the bundle first")
        check_digest(self.path)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Computes logits as the network before the export does: (B, 3, S, S) -> (B, C) or (B, C, H, W).

        Raises
        ------
        ValueError
            The pictures have another shape.
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
        """Computes logits of pictures of the right shape, on their device."""

    def _check_classes(self, found: int) -> None:
        if found != len(self.class_names):
            raise ValueError(
                f"{self.path}: found a network of {found} classes, expected {len(self.class_names)}: {self.class_names}"
            )


class TorchScriptNetwork(ExportedNetwork):
    """Runs a network of MONAI's ``ckpt_export``, or any other TorchScript with the same input and output.

    Parameters
    ----------
    path, class_names, image_size
        See :class:`ExportedNetwork`.

    Raises
    ------
    ValueError
        The file does not exist or is no TorchScript, or its network takes other pictures or has other classes. Names of
        classes are compared with the metadata that ``ckpt_export`` writes into the file.

    Examples
    --------
    >>> import tempfile, torch
    >>> from fedmed_networks import TorchScriptNetwork
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2))
    >>> with tempfile.NamedTemporaryFile(suffix=".ts") as file:
    ...     torch.jit.trace(model, torch.rand(1, 3, 8, 8)).save(file.name)
    ...     TorchScriptNetwork(file.name, ["benign", "malignant"], image_size=8)(torch.rand(4, 3, 8, 8)).shape
    torch.Size([4, 2])
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
        """Checks the number of classes with one picture, since TorchScript declares no shapes."""
        try:
            with torch.no_grad():
                answer = self(torch.zeros(1, *self._taken))
        except RuntimeError as error:
            raise ValueError(
                f"{self.path}: expected a network of pictures of shape ({self._listed}), one that refuses them: {error}"
            ) from error
        self._check_classes(answer.shape[1] if answer.ndim > 1 else 0)


class OnnxNetwork(ExportedNetwork):
    """Runs a network of MONAI's ``onnx_export``, or any other ONNX with the same input and output.

    Parameters
    ----------
    path, class_names, image_size
        See :class:`ExportedNetwork`.
    device
        Device of the pictures; it selects the default of `providers`.
    providers
        ONNX Runtime's execution providers in the order of preference: a name, or a name with its options. None for that
        of CUDA on a GPU, and for that of the CPU otherwise.

    Raises
    ------
    ValueError
        The file does not exist or is no ONNX, its network takes other pictures or has another number of classes, an
        engine of TensorRT is not the one that was built, or ONNX Runtime is not installed or has no such provider.
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
        self.engines = EngineCache([_named(provider) for provider in chosen])
        self.session = onnx_session(self.path, chosen)
        self.engines.record()
        taken, answered = (part[0].shape for part in (self.session.get_inputs(), self.session.get_outputs()))
        if not _fits(taken[1:], self._taken):
            raise ValueError(
                f"{self.path}: expected a network of pictures of shape ({self._listed}), found one of {taken[1:]}"
            )
        self._check_classes(answered[1] if len(answered) > 1 else 0)

    def _answer(self, image: torch.Tensor) -> torch.Tensor:
        name = self.session.get_inputs()[0].name
        answer = self.session.run(None, {name: image.detach().float().contiguous().cpu().numpy()})[0]
        self.engines.record()  # TensorRT builds an engine when it first sees a shape
        return torch.from_numpy(answer).to(image.device)


def onnx_session(path: Path, providers: Sequence[Provider]) -> Any:
    """Opens an inference session of ONNX Runtime with the number of threads of torch.

    Parameters
    ----------
    path
        File of the network.
    providers
        Execution providers in the order of preference.

    Raises
    ------
    ValueError
        ONNX Runtime is not installed or lacks a provider, or the file is no ONNX.
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
    except Exception as error:  # ONNX Runtime raises errors of many kinds for files that are no network
        raise ValueError(f"{path}: expected a network in ONNX, found: {error}") from error
    _check_provider(path, chosen[0][0], session.get_providers())
    return session


def _named(provider: Provider) -> tuple[str, Mapping[str, Any]]:
    return (provider, {}) if isinstance(provider, str) else (provider[0], dict(provider[1]))


def _check_provider(path: Path, first: str, used: Sequence[str]) -> None:
    """Refuses a session without its first provider: if libraries are missing, ONNX Runtime only logs it."""
    if first not in used:
        raise ValueError(f"{path}: ONNX Runtime could not start {first} and fell back to {list(used)}; see its log")


def _fits(declared: Sequence[int | str], sides: Sequence[int]) -> bool:
    """Tells whether a declared shape accepts another one; names and expressions in it accept any side."""
    return len(declared) == len(sides) and all(
        not isinstance(found, int) or found == side for found, side in zip(declared, sides, strict=True)
    )

"""Correctness of exported networks on the device, and of nvImageCodec's decoders, where the libraries are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.gpu.part import PartRun, SkippedPart, expect
from benchmarks.gpu.parts.sites import CLIP, SAM

TOLERANCE = 1e-3
"""Of the logits of an exported network on the device, against PyTorch's on the CPU, relative to the largest."""


def exports(run: PartRun) -> None:
    """Runs exported networks on the device, and the network itself; compares logits with the network on the CPU."""
    torch.backends.cudnn.allow_tf32 = False  # for the kernels of PyTorch and TorchScript
    from fedmed_networks import TorchScriptNetwork

    for name, network, names, side in networks():
        pictures = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0))
        traced, onnx = run.folder / f"{name}.ts", run.folder / f"{name}.onnx"
        with torch.no_grad():
            expected = network(pictures)
            torch.jit.trace(network, pictures[:2]).save(str(traced))
            found = {"PyTorch": _on(run, network, pictures)}
            exported = TorchScriptNetwork(traced, names, side)
            found["TorchScript"] = _on(run, exported, pictures)
            found["ONNX"] = _onnx(run, network.to("cpu"), onnx, names, pictures)
        for form, logits in found.items():
            if isinstance(logits, str):
                run.record(**{f"{name}, {form}": logits})
                continue
            difference = _relative(logits, expected)
            run.record(**{f"{name}, {form}": difference})
            expect(difference <= TOLERANCE, f"{name}, {form}: the logits differ by {difference}")


def networks() -> list[tuple[str, Any, list[str], int]]:
    """Returns a classifier and a segmenter with random weights: name, network, names of classes, side of pictures."""
    from fedmed_networks import FACMIC, FedMSA

    torch.manual_seed(0)
    classes = ["benign", "malignant"]
    return [
        ("FACMIC", FACMIC(classes, CLIP).eval(), classes, 32),
        ("FedMSA", FedMSA(2, SAM, 64).eval(), ["organ", "vessel"], 64),
    ]


def _on(run: PartRun, network: Any, pictures: torch.Tensor) -> torch.Tensor:
    with run.other_rounding:
        logits: torch.Tensor = network.to(run.device)(pictures.to(run.device))
    expect(logits.device.type == run.device.type, f"the logits lie on {logits.device}")
    network.to("cpu")
    return logits.cpu()


def _to_onnx(network: Any, pictures: torch.Tensor, path: Path) -> None:
    """Exports as MONAI's ``onnx_export`` does with the arguments of the bundles' documents."""
    torch.onnx.export(
        network, (pictures,), str(path), input_names=["image"], output_names=["pred"],
        dynamic_axes={"image": {0: "batch"}, "pred": {0: "batch"}},
    )  # fmt: skip


def _onnx(run: PartRun, network: Any, path: Path, names: list[str], pictures: torch.Tensor) -> Any:
    import onnxruntime

    from fedmed_networks import FACMIC, OnnxNetwork

    if run.small and not isinstance(network, FACMIC):
        return "skipped: its export takes longer than all other parts on the CPU"
    needed, there = "CUDAExecutionProvider", onnxruntime.get_available_providers()
    if not run.small and needed not in there:
        return f"skipped: ONNX Runtime has no {needed}, only {there}"
    _to_onnx(network, pictures[:2], path)
    exported = OnnxNetwork(path, names, pictures.shape[-1], run.device)
    return exported(pictures.to(run.device)).cpu()


def _relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def tensorrt(run: PartRun) -> None:
    """Runs the exported segmenter with TensorRT through ONNX Runtime, if both are there."""
    run.need_gpu()
    try:
        import onnxruntime
    except ImportError as error:
        raise SkippedPart("no ONNX Runtime") from error
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        raise SkippedPart(f"ONNX Runtime has only {onnxruntime.get_available_providers()}")
    from fedmed_networks import OnnxNetwork

    name, network, names, side = networks()[1]
    pictures = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(pictures)
        _to_onnx(network, pictures, run.folder / "network.onnx")
    cache = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(run.folder)}
    providers = [("TensorrtExecutionProvider", cache), "CUDAExecutionProvider"]
    try:
        exported = OnnxNetwork(run.folder / "network.onnx", names, side, run.device, providers)
    except ValueError as error:  # the provider is listed, its library is missing
        raise SkippedPart(str(error).partition(": ")[2]) from error
    difference = _relative(exported(pictures.to(run.device)).cpu(), expected)
    run.record(**{name: difference})
    expect(difference <= 1e-2, f"{name}: the logits differ by {difference}")  # TensorRT computes in TF32


def nvimagecodec(run: PartRun) -> None:
    """Decodes lossless frames on the GPU to the bits of the CPU, and leaves the frames to the CPU that it damages."""
    run.need_gpu()
    from fedmed_transforms.dicom.pixels import gpu_frames

    if not gpu_frames.is_available():
        raise SkippedPart("no nvImageCodec")
    from fedmed_transforms import load_image

    decoded: list[bool] = []
    original = gpu_frames.decode

    def decode(*arguments: Any) -> Any:
        words = original(*arguments)
        decoded.append(words is not None)
        return words

    with mock.patch.object(gpu_frames, "decode", decode):
        for name, path, trusted in _compressed(run.folder):
            decoded.clear()
            same = torch.equal(load_image(path, device=run.device).as_tensor().cpu(), load_image(path).as_tensor())
            run.record(**{name: f"{'GPU' if any(decoded) else 'CPU'}, {'equal' if same else 'other'} bits"})
            expect(same, f"{name}: other bits than on the CPU")
            expect(trusted or not any(decoded), f"{name}: decoded on the GPU, expected the CPU")


def _compressed(folder: Path) -> list[tuple[str, Path, bool]]:
    """Writes one file a syntax; the last value tells whether the GPU may decode it."""
    import imagecodecs
    from pydicom import dcmread
    from pydicom.data import get_testdata_file
    from pydicom.encaps import encapsulate
    from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless

    def lossless_jpeg(frame: Any) -> bytes:
        return imagecodecs.ljpeg_encode(frame, bitspersample=12)

    def jpeg_2000(frame: Any) -> bytes:
        return imagecodecs.jpeg2k_encode(frame, codecformat="j2k", reversible=True, level=0)

    cases = [
        ("JPEG lossless, 16 bits", JPEGLosslessSV1, imagecodecs.ljpeg_encode, 16, True),
        ("JPEG lossless, 12 bits", JPEGLosslessSV1, lossless_jpeg, 12, False),
        ("JPEG 2000 lossless", JPEG2000Lossless, jpeg_2000, 16, True),
        ("HTJ2K lossless", HTJ2KLossless, imagecodecs.htj2k_encode, 16, True),
        ("JPEG-LS lossless", JPEGLSLossless, imagecodecs.jpegls_encode, 16, False),
    ]
    written = []
    for name, syntax, encode, bits, trusted in cases:
        header = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
        noise = np.random.default_rng(bits).integers(0, 2**bits, (128, 128), dtype=np.uint16)
        header.PixelRepresentation, header.BitsStored, header.HighBit = 0, bits, bits - 1
        header.PixelData = encapsulate([encode(noise)])
        header["PixelData"].is_undefined_length = True
        header.file_meta.TransferSyntaxUID = syntax
        written.append((name, folder / f"{len(written)}.dcm", trusted))
        header.save_as(written[-1][1])
    return written

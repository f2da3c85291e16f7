"""Speed, side by side on one machine: training steps, inference, encoding, rounds and loading.

The CPU in the GPU's place takes small sizes; its figures say only that the parts run.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import facmic_round, sam_inference, sam_step
from benchmarks.gpu.part import PartRun, expect
from benchmarks.gpu.parts.sites import CLIP, SAM

WORKERS = 8
"""Processes that read pictures for open_clip; this project reads with one thread."""


def steps_vit_b(run: PartRun) -> None:
    """Measures steps of FedMSA vit_b at 1024 pixels, four images, in float32 and bfloat16."""
    _steps(run, "vit_b", 4, ["plain", "ours", "bfloat16"], 16)


def steps_vit_h(run: PartRun) -> None:
    """Measures steps of FedMSA vit_h at 1024 pixels, one image, in float32 and bfloat16."""
    _steps(run, "vit_h", 1, ["plain", "ours", "bfloat16"], 30)


def compiled(run: PartRun) -> None:
    """Measures steps of FedMSA vit_b with torch.compile, and the seconds of the first one."""
    run.need_gpu(16)
    _steps(run, "vit_b", 4, ["compiled"], 16)


def flexible(run: PartRun) -> None:
    """Measures steps of FedMSA vit_b with torch's FlexAttention."""
    run.need_gpu(16)
    _steps(run, "vit_b", 4, ["flex"], 16)


def _steps(run: PartRun, model: Any, batch: int, variants: list[str], gigabytes: float) -> None:
    size = 1024
    if run.small:
        model, batch, size = SAM, 1, 96
    else:
        run.need_gpu(gigabytes)
    measured: dict[str, dict[str, float]] = {}
    for variant in variants:
        measured[variant] = sam_step.measure(variant, model, size, batch, run.device)
        first = {f"{variant}_first_step_seconds": round(measured[variant]["first_seconds"], 2)}
        run.record(**sam_step.compared(measured), **first, batch=batch)
        _free()


def _free() -> None:
    """Gives the memory of the variant before back, so that the next one's peak is its own."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def segmentation(run: PartRun) -> None:
    """Measures slices a second of a volume, beside segment_anything's predictor."""
    options = Namespace(model="vit_b", size=1024, slices=48, passes=4)
    if run.small:
        options = Namespace(model=SAM, size=96, slices=4, passes=2)
    else:
        run.need_gpu(8)
    sides = ["ours"] if run.small else ["ours", "predictor"]
    found = {}
    for side in sides:
        found[side] = sam_inference.measure(side, options, run.device)
        run.record(**{side: found[side]})
        _free()
    if len(found) == 2:
        run.record(times_faster=found["ours"]["slices_a_second"] / found["predictor"]["slices_a_second"],
                   share_of_memory=found["ours"]["peak_mb"] / found["predictor"]["peak_mb"])  # fmt: skip


def facmic(run: PartRun) -> None:
    """Measures rounds of FACMIC beside the published procedure."""
    if run.small:
        sizes = {"SOURCE": 64, "TARGET": 32}
        for name, value in sizes.items():
            setattr(facmic_round, name, value)
        run.record(**facmic_round.compare(run.folder, 2, run.device, CLIP, 32))
    else:
        run.record(**facmic_round.compare(run.folder, 4, run.device))


def encoding(run: PartRun) -> None:
    """Measures pictures a second from files to CLIP's features, beside a loop of open_clip's own parts.

    The loop of open_clip: its preprocessing in a DataLoader with WORKERS processes, and its image encoder.
    """
    name, side, counts = (CLIP, 32, (64,)) if run.small else ("ViT-B-32-quickgelu", 224, (1000, 10000))
    files = _pictures(run.folder, max(counts), side)
    from fedmed_networks import ZeroShotCLIP

    network = ZeroShotCLIP(["one", "other"], name).to(run.device)
    theirs, others = _timed(lambda: _open_clip(files, network.visual, side, run.device))
    run.record(open_clip_pictures_a_second=round(len(files) / theirs, 1))
    for count in counts:
        ours, features = _timed(lambda n=count: _encoded(files[:n], network, side))
        cosine = torch.nn.functional.cosine_similarity(features, others[:count]).min()
        run.record(ours_pictures_a_second=round(count / ours, 1), pictures=count, smallest_cosine=float(cosine),
                   times_faster=round(count / ours * theirs / len(files), 2))  # fmt: skip
        expect(float(cosine) > 0.999, f"a feature's cosine with open_clip's is {float(cosine)}")


def _pictures(folder: Path, count: int, side: int) -> list[Path]:
    """Names of so many files; 100 different pictures, each under many names."""
    from PIL import Image

    random = np.random.default_rng(0)
    files = [folder / f"{index:05d}.png" for index in range(count)]
    for index, file in enumerate(files):
        if index < 100:
            coarse = random.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(file)
        else:
            os.link(files[index % 100], file)
    return files


def _encoded(files: list[Path], network: Any, side: int) -> torch.Tensor:
    from monai.transforms import Compose

    from fedmed_transforms import ClipPreprocessd, LoadMedicalImaged, ScaleToUnitd, ToPicturesd
    from fedmed_workflows import EncodedDataset

    parts = (LoadMedicalImaged("image"), ToPicturesd("image"), ScaleToUnitd("image"), ClipPreprocessd("image", side))
    dataset = EncodedDataset([{"image": str(file)} for file in files], Compose(parts), network)
    features = dataset.features
    assert features is not None
    return features


def _open_clip(files: list[Path], visual: Any, side: int, device: torch.device) -> torch.Tensor:
    import open_clip
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    transform = open_clip.image_transform(side, is_train=False)

    class Pictures(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, index: int) -> torch.Tensor:
            with Image.open(files[index]) as picture:
                return transform(picture)

    workers = 0 if device.type == "cpu" else WORKERS
    loader = DataLoader(Pictures(), batch_size=64, num_workers=workers, pin_memory=device.type == "cuda")
    with torch.no_grad():
        return torch.cat([visual(batch.to(device, non_blocking=True)).float().cpu() for batch in loader])


def loading(run: PartRun) -> None:
    """Measures loading from files to a volume on the device, beside MONAI's readers and an upload."""
    import nibabel

    from benchmarks.loading import monai_loader, slice_of, write_series
    from fedmed_transforms import load_image

    slices = 4 if run.small else 120
    volume = np.stack([slice_of(number).astype(np.int16) - 1024 for number in range(slices)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([0.5, 0.5, 1, 1])), run.folder / "volume.nii.gz")
    paths = {
        "NIfTI, gzip": (run.folder / "volume.nii.gz", "NibabelReader"),
        "CT, uncompressed": (write_series(run.folder / "uncompressed", slices, False), "PydicomReader"),
        "CT, JPEG-LS": (write_series(run.folder / "compressed", slices, True), "PydicomReader"),
    }
    for name, (path, reader) in paths.items():
        load = monai_loader(reader)
        ours = _median(run, lambda p=path: load_image(p, device=run.device))
        theirs = _median(run, lambda p=path, use=load: use(p).to(run.device))
        run.record(**{name: {"seconds": ours, "monai_seconds": theirs, "times_faster": round(theirs / ours, 2)}})


def _median(run: PartRun, load: Callable[[], Any], repeats: int = 3) -> float:
    """Median seconds of a load, after one that warms up."""

    def whole() -> None:
        load()
        run.synchronize()

    whole()
    return round(statistics.median(_timed(whole)[0] for _ in range(repeats)), 4)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result

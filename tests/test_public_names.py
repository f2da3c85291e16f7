"""The public names: written out, so that none goes unseen; configurations and documents use them and no inner path."""

from __future__ import annotations

import inspect
import json
import re
from importlib import import_module
from pathlib import Path
from pydoc import ErrorDuringImport, locate

import pytest
from monai.bundle import ConfigParser
from nvflare.fuel.utils.class_loader import load_class

from fedmed_faces import UnknownNameError
from fedmed_workflows.federation.bundle.needed_packages import targets_of

ROOT = Path(__file__).parents[1]

FACES = {
    "fedmed_networks": """
        check_digest checkpoint_class_names FACMIC FeatureAttention FedCLIP FedMSA FedSAM FedUNet FineTunedCLIP
        LinearHeadCLIP LoraCLIP LoraSAM OnnxNetwork TorchScriptNetwork ZeroShotCLIP
    """,
    "fedmed_transforms": """
        AcquisitionShift ChannelsToLabels ChannelsToLabelsd CheckIdentifiersd clean_folder ClipPreprocess
        ClipPreprocessd DicomReader find_studies LabelsToChannels LabelsToChannelsd LabelStyle load_image
        load_label LoadMedicalImaged MatchedLabeld MetaImageReader NiftiReader NrrdReader open_studies
        PictureReader Prefetched read_report read_segmentation ResultFormatd SamLabels SamLabelsd SamPostprocess
        SamPostprocessd SamPreprocess SamPreprocessd SaveSegmentationd ScaleToUnit ScaleToUnitd Segment
        SegmentationToLabelsd SeriesRules SiteShiftd SlicesToVolume SlicesToVolumed ToPictures ToPicturesd
        ToUptake ToUptaked VolumeToSlices VolumeToSlicesd Window Windowd write_report write_segmentation
    """,
    "fedmed_workflows": """
        AdaptationInferer AdversarialInferer check_settings ClassificationFiles ClassificationMetrics
        ClassificationSite ClassificationSites Comparison continued_network ContrastiveLoss
        DigestCheckpointSaver EncodedDataset EncryptedAggregate EncryptedSite FAACLIPLoss FACMICLoss
        FeatureInferer Federation FederationController FedProx FullScaleCheck GaussianUpdate IdentifierCheck
        ImageDataset ImageStatistics LastAggregate LMMDLoss LossWatch MOON NamedCheckpointLoader PairedLoader
        PairInferer PairLoss PooledInferer Preparation prepare_paired_batch Production ProductionStatistics
        RefusedStudies RejoiningSites RestartingLauncher ScoreFile SegmentationFiles SegmentationMetrics
        SegmentationSite SegmentationSites SimulatedStatistics SiteAlgo SiteExecutor SiteStatisticsExecutor
        SliceDataset SlicewiseInferer SmallCounts SmoothedFocalLoss StageSeconds StoredResults StudyDataset
        StudyEvaluator StudyEvents StudyLedger target_dataset TargetPreparation trainable_parameters Update
        Watch WatchEvaluator watch_source
    """,
    "fedmed_workflows.aggregation": """
        Aggregated Aggregation Before FedAdam FedAvg FedAvgM FedBN FedYogi Krum Median TrimmedMean
    """,
}
"""Public names by their face. A name that goes breaks bundles and policies at hospitals."""

NAME = re.compile(r"fedmed_(?:networks|transforms|workflows)(?:\.\w+)+")

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("bundles/*/docs/*.md"))]


@pytest.mark.parametrize("face", FACES)
def test_no_public_name_goes_and_none_comes_unseen(face: str) -> None:
    package = import_module(face)
    assert sorted(package.__all__) == sorted(FACES[face].split())
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    assert set(dir(package)) >= set(package.__all__)


def is_public(name: str) -> bool:
    face, _, own = name.rpartition(".")
    return name in FACES or (face in FACES and own in FACES[face].split())


def test_every_target_of_a_bundle_is_a_public_name() -> None:
    files = sorted(ROOT.glob("bundles/**/*.json"))
    found = [(file, name) for file in files for name in targets_of(json.loads(file.read_text()))]
    own = [(file, name) for file, name in found if name.startswith("fedmed_")]
    assert len(own) > 100 and [(file.name, name) for file, name in own if not is_public(name)] == []


def test_documents_name_nothing_but_public_names() -> None:
    found = [(file.name, name) for file in DOCUMENTS for name in NAME.findall(file.read_text())]
    assert len(found) > 20
    assert [(file, name) for file, name in found if not is_public(name)] == []


OLD_PATHS = {
    "fedmed_workflows.moon.MOON": "fedmed_workflows.MOON",
    "fedmed_workflows.federation.Federation": "fedmed_workflows.Federation",
    "fedmed_workflows.evaluation.ScoreFile": "fedmed_workflows.ScoreFile",
    "fedmed_workflows.sites.ClassificationSites": "fedmed_workflows.ClassificationSites",
    "fedmed_workflows.exchange.trainable_parameters": "fedmed_workflows.trainable_parameters",
    "fedmed_workflows.engines.nvflare_executor.SiteExecutor": "fedmed_workflows.SiteExecutor",
    "fedmed_workflows.engines.simulated_statistics.SimulatedStatistics": "fedmed_workflows.SimulatedStatistics",
    "fedmed_workflows.clinic.watched_archive.source_of": "fedmed_workflows.watch_source",
    "fedmed_workflows.clinic.watch.Watch": "fedmed_workflows.Watch",
    "fedmed_networks.class_names.checkpoint_class_names": "fedmed_networks.checkpoint_class_names",
    "fedmed_transforms.dicomweb_studies.studies_of": "fedmed_transforms.open_studies",
    "fedmed_transforms.studies.find_studies": "fedmed_transforms.find_studies",
}
"""Inner paths that configurations had before the faces, with the public names of today."""


@pytest.mark.parametrize(("path", "expected"), OLD_PATHS.items())
def test_an_old_inner_path_is_refused_with_the_new_name(path: str, expected: str) -> None:
    with pytest.raises(ErrorDuringImport, match=f"is an inner path, expected the public name {re.escape(expected)}$"):
        ConfigParser({"part": {"_target_": path}}).get_parsed_content("part")
    assert locate(expected) is not None


def test_the_old_path_of_a_policy_is_refused_with_the_new_name() -> None:
    with pytest.raises(TypeError, match="expected the public name fedmed_workflows.SiteExecutor$"):
        load_class("fedmed_workflows.engines.nvflare_executor.SiteExecutor")
    with pytest.raises(TypeError, match="did you mean fedmed_workflows.SiteExecutor"):
        load_class("fedmed_workflows.SiteExecuter")


def test_the_import_of_an_old_module_is_refused_with_its_public_names() -> None:
    names = "fedmed_workflows.FACMICLoss or fedmed_workflows.AdaptationInferer or fedmed_workflows.FeatureInferer"
    with pytest.raises(UnknownNameError, match=f"^fedmed_workflows.facmic is an inner path, expected .* {names}$"):
        import_module("fedmed_workflows.facmic")


def test_a_name_that_is_not_there_says_which_there_are() -> None:
    with pytest.raises(ErrorDuringImport) as refused:
        ConfigParser({"part": {"_target_": "fedmed_workflows.StoredResult"}}).get_parsed_content("part")
    assert "no public name 'StoredResult'; did you mean fedmed_workflows.StoredResults?" in str(refused.value)
    assert "it has AdaptationInferer, AdversarialInferer" in str(refused.value)
    import_module("fedmed_workflows.aggregation")
    with pytest.raises(ErrorDuringImport, match="'FedAvgM'; did you mean fedmed_workflows.aggregation.FedAvgM"):
        locate("fedmed_workflows.FedAvgM")
    with pytest.raises(ErrorDuringImport, match="fedmed_workflows.aggregation has no public name 'FedMedian'"):
        locate("fedmed_workflows.aggregation.FedMedian")


@pytest.mark.parametrize("face", FACES)
def test_a_face_is_a_module_like_any_other(face: str) -> None:
    package = import_module(face)
    assert not hasattr(package, "pytest_plugins") and getattr(package, "nothing", None) is None
    assert all(inspect.getmembers(package))

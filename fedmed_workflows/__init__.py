"""The workflows of a federation: sites, exchange, methods, aggregation, rounds, evaluation, reports, clinical use."""

from fedmed_faces import attach_face

MOVED = {
    "checkpoint": "NamedCheckpointLoader continued_network",
    "clinic.study_ledger": "StudyLedger",
    "clinic.watch_evaluator": "WatchEvaluator",
    "clinic.watched_archive": "watch_source",
    "contrastive": "ContrastiveLoss",
    "engines.nvflare_controller": "FederationController",
    "engines.nvflare_encrypted_server": "EncryptedAggregate LastAggregate",
    "engines.nvflare_encrypted_site": "EncryptedSite",
    "engines.nvflare_executor": "SiteExecutor",
    "engines.nvflare_production": "Production",
    "engines.nvflare_rejoin": "RejoiningSites",
    "engines.nvflare_restart": "RestartingLauncher",
    "engines.nvflare_small_counts": "SmallCounts",
    "engines.nvflare_statistics": "ImageStatistics",
    "engines.nvflare_statistics_executor": "SiteStatisticsExecutor",
    "engines.production_statistics": "ProductionStatistics",
    "engines.simulated_statistics": "SimulatedStatistics",
    "faa_clip": "FAACLIPLoss AdversarialInferer",
    "facmic": "FACMICLoss AdaptationInferer FeatureInferer",
    "features": "EncodedDataset",
    "fedprox": "FedProx",
    "focal": "SmoothedFocalLoss",
    "identifier_check": "IdentifierCheck",
    "image_prompt_pairs": "PairInferer PairLoss",
    "inference": "PooledInferer",
    "lmmd": "LMMDLoss",
    "loss_watch": "LossWatch",
    "moon": "MOON",
    "preparation": "Preparation",
    "segmentation_evaluation": "SegmentationMetrics",
    "segmentation_sites": "SegmentationSite SegmentationSites",
    "site_algo": "SiteAlgo",
    "slice_dataset": "ImageDataset SliceDataset",
    "slicewise": "SlicewiseInferer",
    "target": "PairedLoader prepare_paired_batch target_dataset",
    "target_preparation": "TargetPreparation",
    "update_privacy": "GaussianUpdate",
}
"""Old modules by whose paths configurations named classes before this face, with their public names."""

# Lazy imports: a server that aggregates must not load a foundation, and a reader of files no network.
__getattr__, __dir__, __all__ = attach_face(__name__, __file__, MOVED)

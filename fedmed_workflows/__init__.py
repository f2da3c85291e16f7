"""The workflows of a federation: sites, exchange, methods, aggregation, rounds, evaluation, reports, clinical use."""

from fedmed_faces import attach_face

MOVED = (
    "checkpoint", "contrastive", "engines", "faa_clip", "facmic", "features", "fedprox", "focal",
    "identifier_check", "image_prompt_pairs", "inference", "lmmd", "loss_watch", "moon", "preparation",
    "segmentation_evaluation", "segmentation_sites", "site_algo", "slice_dataset", "slicewise", "target",
    "target_preparation", "update_privacy",
)  # fmt: skip
"""Former modules whose paths appear in old configurations. Their names are refused with the new public name."""

# Lazy imports: a server that aggregates must not load a foundation, and a reader of files no network.
__getattr__, __dir__, __all__ = attach_face(__name__, __file__, MOVED)

"""Workflows: what happens in a round of a federation. Losses, the site, exchange, aggregation, engines, evaluation."""

from fedmed_faces import attach_face

MOVED = (
    "checkpoint", "contrastive", "engines", "faa_clip", "facmic", "features", "fedprox", "focal",
    "identifier_check", "image_prompt_pairs", "inference", "lmmd", "loss_watch", "moon", "preparation",
    "segmentation_evaluation", "segmentation_sites", "site_algo", "slice_dataset", "slicewise", "target",
    "target_preparation", "update_privacy",
)  # fmt: skip
"""Modules by whose paths configurations named classes before only this face did."""

# Imports what is asked for: a server that aggregates loads no foundation, a reader of files no network.
__getattr__, __dir__, __all__ = attach_face(__name__, __file__, MOVED)

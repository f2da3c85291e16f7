"""Networks: the foundations CLIP and SAM, and the networks of the methods; they know nothing of rounds."""

from fedmed_faces import attach_face

MOVED = {
    "class_names": "checkpoint_class_names",
    "facmic": "FACMIC",
    "feature_attention": "FeatureAttention",
    "fedclip": "FedCLIP",
    "fedmsa": "FedMSA",
    "fedsam": "FedSAM",
    "fine_tuned_clip": "FineTunedCLIP",
    "linear_head": "LinearHeadCLIP",
    "lora_clip": "LoraCLIP",
    "lora_sam": "LoraSAM",
    "zero_shot_clip": "ZeroShotCLIP",
}
"""Old modules by whose paths configurations named classes before this face, with their public names."""

# Imports what is asked for: a server that aggregates loads no foundation, a reader of files no network.
__getattr__, __dir__, __all__ = attach_face(__name__, __file__, MOVED)

"""The parts of the run in the order of their worth: correctness of loading, training and inference, then speed."""

from __future__ import annotations

from benchmarks.gpu.part import Part

SECONDS = 480
"""Time of the whole run, the sum of the parts' limits."""

PARTS = (
    Part("machine", "benchmarks.gpu.machine:machine", 40),  # with the imports of all parts
    Part("loading", "benchmarks.gpu.loading:loading", 30),
    Part("transforms", "benchmarks.gpu.loading:transforms", 10),
    Part("attention", "benchmarks.gpu.attention:attention", 15),
    Part("rounds", "benchmarks.gpu.training:rounds", 40),
    Part("resume", "benchmarks.gpu.training:resume", 35),
    Part("precision", "benchmarks.gpu.training:precision", 20),
    Part("exports", "benchmarks.gpu.inference:exports", 20),
    Part("tensorrt", "benchmarks.gpu.inference:tensorrt", 10),
    Part("nvimagecodec", "benchmarks.gpu.inference:nvimagecodec", 10),
    Part("steps_vit_b", "benchmarks.gpu.speed:steps_vit_b", 15),
    Part("steps_vit_h", "benchmarks.gpu.speed:steps_vit_h", 20),
    Part("segmentation", "benchmarks.gpu.speed:segmentation", 15),
    Part("encoding", "benchmarks.gpu.speed:encoding", 30),
    Part("facmic_round", "benchmarks.gpu.speed:facmic", 15),
    Part("loading_speed", "benchmarks.gpu.speed:loading", 20),
    Part("profile", "benchmarks.gpu.profiles:profile", 20),
    Part("compiled", "benchmarks.gpu.speed:compiled", 75),
    Part("flex", "benchmarks.gpu.speed:flexible", 40),
)

"""The parts of the run in the order of their worth: correctness of loading, training and inference, then speed."""

from __future__ import annotations

from benchmarks.gpu.part import Part

SECONDS = 480
"""Time of the whole run on a GPU: the parts' limits, and half a minute for the imports."""

WITHOUT_GPU = 4
"""Factor of all limits where the CPU stands for the GPU, also while other work runs beside."""

PARTS = (
    Part("machine", "benchmarks.gpu.machine:machine", 10),
    Part("loading", "benchmarks.gpu.loading:loading", 25),
    Part("transforms", "benchmarks.gpu.loading:transforms", 10),
    Part("attention", "benchmarks.gpu.attention:attention", 15),
    Part("rounds", "benchmarks.gpu.training:rounds", 40),
    Part("resume", "benchmarks.gpu.training:resume", 40),
    Part("precision", "benchmarks.gpu.training:precision", 20),
    Part("exports", "benchmarks.gpu.inference:exports", 20),
    Part("tensorrt", "benchmarks.gpu.inference:tensorrt", 5),
    Part("nvimagecodec", "benchmarks.gpu.inference:nvimagecodec", 5),
    Part("steps_vit_b", "benchmarks.gpu.speed:steps_vit_b", 15),
    Part("steps_vit_h", "benchmarks.gpu.speed:steps_vit_h", 20),
    Part("segmentation", "benchmarks.gpu.speed:segmentation", 10),
    Part("encoding", "benchmarks.gpu.speed:encoding", 45),
    Part("facmic_round", "benchmarks.gpu.speed:facmic", 10),
    Part("loading_speed", "benchmarks.gpu.speed:loading", 25),
    Part("profile", "benchmarks.gpu.profiles:profile", 15),
    Part("compiled", "benchmarks.gpu.speed:compiled", 80),
    Part("flex", "benchmarks.gpu.speed:flexible", 40),
)

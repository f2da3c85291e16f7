"""The parts of the run in the order of their worth: correctness of loading, training and inference, then speed."""

from __future__ import annotations

from benchmarks.gpu.part import Part

SECONDS = 480
"""Time of the whole run on a GPU: the parts' limits, and half a minute for the imports."""

WITHOUT_GPU = 4
"""Factor of all limits where the CPU stands for the GPU, also while other work runs beside."""

PARTS = (
    Part("machine", "benchmarks.gpu.parts.machine:machine", 10),
    Part("loading", "benchmarks.gpu.parts.loading:loading", 30),
    Part("odd_files", "benchmarks.gpu.parts.loading:odd_files", 35),
    Part("transforms", "benchmarks.gpu.parts.loading:transforms", 10),
    Part("attention", "benchmarks.gpu.parts.attention:attention", 15),
    Part("rounds", "benchmarks.gpu.parts.training:rounds", 30),
    Part("resume", "benchmarks.gpu.parts.training:resume", 40),
    Part("precision", "benchmarks.gpu.parts.training:precision", 20),
    Part("exports", "benchmarks.gpu.parts.inference:exports", 15),
    Part("tensorrt", "benchmarks.gpu.parts.inference:tensorrt", 5),
    Part("nvimagecodec", "benchmarks.gpu.parts.inference:nvimagecodec", 5),
    Part("steps_vit_b", "benchmarks.gpu.parts.speed:steps_vit_b", 15),
    Part("steps_vit_h", "benchmarks.gpu.parts.speed:steps_vit_h", 30),
    Part("segmentation", "benchmarks.gpu.parts.speed:segmentation", 10),
    Part("encoding", "benchmarks.gpu.parts.speed:encoding", 45),
    Part("facmic_round", "benchmarks.gpu.parts.speed:facmic", 20),
    Part("loading_speed", "benchmarks.gpu.parts.speed:loading", 25),
    Part("profile", "benchmarks.gpu.parts.profiles:profile", 15),
    Part("compiled", "benchmarks.gpu.parts.speed:compiled", 50),
    Part("flex", "benchmarks.gpu.parts.speed:flexible", 25),
)

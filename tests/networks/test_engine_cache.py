"""Engines of TensorRT are listed when they are built and compared when they are used again; no GPU is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmed_networks.engine_cache import CACHE, EngineCache


def cache(folder: Path) -> EngineCache:
    return EngineCache([("TensorrtExecutionProvider", {CACHE: str(folder)}), ("CUDAExecutionProvider", {})])


def test_engines_are_listed_when_built_and_compared_at_the_next_start(tmp_path: Path) -> None:
    first, engine = cache(tmp_path / "engines"), tmp_path / "engines" / "graph_0.engine"
    first.record()  # nothing is built yet
    engine.parent.mkdir()
    engine.write_bytes(bytes(100))
    first.record()
    cache(engine.parent)
    engine.write_bytes(bytes(200))  # built again for another shape, by the same process
    first.record()
    again = cache(engine.parent)
    content = bytearray(engine.read_bytes())
    content[50] ^= 1
    engine.write_bytes(content)
    with pytest.raises(ValueError, match="graph_0.engine: found the SHA-256 .*TensorRT builds it again"):
        cache(engine.parent)
    engine.unlink()  # as the message says
    cache(engine.parent)
    engine.write_bytes(bytes(300))
    again.record()
    cache(engine.parent)


def test_an_engine_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "foreign.engine").write_bytes(b"1")
    with pytest.raises(ValueError, match="foreign.engine"):
        cache(tmp_path)


def test_other_providers_have_no_engines() -> None:
    EngineCache([("CPUExecutionProvider", {})]).record()

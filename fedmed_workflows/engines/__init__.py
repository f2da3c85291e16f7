"""Engines: how a site's round is called. Nothing else of a federation depends on the engine."""

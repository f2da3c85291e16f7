"""Workflows: what happens in a round of a federation. Losses, the site, exchange, aggregation, engines, evaluation."""

import lazy_loader

# Imports what is asked for: a server that aggregates loads no foundation, a reader of files no network.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

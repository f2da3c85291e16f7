"""Transforms: files to tensors on a device, and results back to files. Knows nothing of networks or rounds."""

import lazy_loader

# Imports what is asked for: a server that aggregates loads no foundation, a reader of files no network.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

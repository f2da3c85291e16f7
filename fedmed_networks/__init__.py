"""Networks: the foundations (CLIP, SAM) and what each method adds to them; nothing of rounds."""

import lazy_loader

# Imports what is asked for: a server that aggregates loads no foundation, a reader of files no network.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

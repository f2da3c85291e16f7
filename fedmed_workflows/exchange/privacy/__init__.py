"""Private updates: clipping, noise and the account of epsilon."""

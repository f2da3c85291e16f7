"""A federation: its settings, its rounds, its run folder, and the engine that runs all sites in one process."""

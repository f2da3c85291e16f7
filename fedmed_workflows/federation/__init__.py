"""A federation: its settings, its rounds, its folder, and the engine that has all sites in one process."""

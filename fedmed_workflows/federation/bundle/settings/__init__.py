"""Checks of the settings of a configuration, before anything is read."""

"""A trained bundle at work: studies in, results out, one after the other, for as long as they come."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__, ("study_ledger", "watch_evaluator", "watched_archive"))

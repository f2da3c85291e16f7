"""The clinic: a trained bundle reads studies one after the other, and writes their results."""

from fedmed_faces import moved_names

__getattr__ = moved_names(__name__, ("study_ledger", "watch_evaluator", "watched_archive"))

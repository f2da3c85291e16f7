"""Patients: splits that keep a patient's images together, and identifiers that must not be left in files."""

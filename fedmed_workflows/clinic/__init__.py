"""A trained bundle at work: studies in, results out, one after the other, for as long as they come."""

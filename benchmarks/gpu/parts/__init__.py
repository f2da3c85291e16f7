"""The parts of the run: what each one shows, and the sites and networks that they share."""

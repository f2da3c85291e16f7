"""The clinic: a trained bundle reads studies one after the other, and writes their results."""

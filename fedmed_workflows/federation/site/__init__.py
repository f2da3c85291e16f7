"""A site of a federation: it trains, validates and keeps its own state."""

"""The site of a federation, which trains, validates and keeps its own state."""

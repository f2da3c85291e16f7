"""Methods: losses, inferers and handlers, one method a file."""

"""The watch: studies are processed once each when they arrive in a folder or on a server."""

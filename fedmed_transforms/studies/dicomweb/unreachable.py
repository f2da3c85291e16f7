"""Defines the error of a server that does not answer; the request itself may be correct."""


class ServerUnreachable(ValueError):
    """A server was not reached, is overloaded, or requires a login; the message has its address and what was found."""

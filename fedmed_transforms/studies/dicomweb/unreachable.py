"""The error of a server that does not answer, which is no fault of what was asked for."""


class ServerUnreachable(ValueError):
    """A server was not reached, is overloaded, or lets nobody in; the message names its address and what was found."""

"""The exception for what a user can mend, a sentence that ends with the way out, and the one for being sent away."""


class UserError(ValueError):
    """A mistake of the user's. Its text is one sentence; commands print it and exit with code 2."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has come and the work was saved: as Ctrl-C to all that goes on when a run is interrupted."""

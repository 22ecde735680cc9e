"""The one exception for what a user can mend: a sentence that ends with the way out."""


class UserError(ValueError):
    """A mistake of the user's. Its text is one sentence; commands print it and exit with code 2."""

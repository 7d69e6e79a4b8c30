"""The one exception type for mistakes and circumstances that the user can act on."""

from __future__ import annotations


class UserError(Exception):
    """One clear sentence for the user: what, where, what to do.

    Everything that is not a UserError is a bug of ours: it goes to the log whole and the user is told where the log is.
    """


class Stopped(Exception):
    """Raised inside a job when its user asked it to stop; the job saves what it has and ends in the state "stopped"."""

"""The one exception type for mistakes and circumstances that the user can act on."""

from __future__ import annotations

import errno


class UserError(Exception):
    """One clear sentence for the user: what, where, what to do.

    Everything that is not a UserError is a bug of ours: it goes to the log whole and the user is told where the log is.
    """


class DiskFullError(UserError):
    """There is no room for what was to be written; a training waits until there is.

    Attributes:
        what: The file or folder that was not written.
    """

    def __init__(self, what: object) -> None:
        super().__init__(f"The disk is full: {what} was not written. Free some space, then resume the run.")
        self.what = str(what)


class Stopped(Exception):
    """Raised inside a job when its user asked it to stop; the job saves what it has and ends in the state "stopped"."""


_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT)


def means_full(error: BaseException) -> bool:
    """Whether an error of writing says that the disk, or the user's share of it, is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def disk_sentence(error: OSError) -> str:
    """What a full disk or a forbidden place means for the user; "" when the error is none of these, but a bug of ours.

    A last resort for writes that nobody has put into words where they happen.
    """
    where = f": {error.filename} was not written" if error.filename else ""
    if error.errno in _FULL:
        return f"The disk is full{where}. Free some space and do it again; nothing half-written was kept."
    if error.errno in _REFUSED:
        return f"{error.filename or 'A file'} cannot be read or written ({error.strerror}). Check its permissions."
    return ""

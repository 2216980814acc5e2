"""The exceptions that a person sees: what is wrong, by how much, what to do."""


class RulerlabError(Exception):
    """A known problem, told in one line; `exit_code` is what the command line returns."""

    exit_code = 1

    def __init__(self, message: str, *, exit_code: int | None = None):
        super().__init__(message)
        if exit_code is not None:
            self.exit_code = exit_code


class UsageError(RulerlabError):
    """The request itself can't be carried out as asked (wrong option, output exists)."""

    exit_code = 2


class InputError(RulerlabError):
    """A file can't be read, or does not hold what it should."""

    exit_code = 3


class QualityError(RulerlabError):
    """The work ran, but its result is not good enough to be used."""

    exit_code = 4


class MissingPartError(RulerlabError):
    """An optional part is not installed; the message holds the command that installs it."""

    exit_code = 5

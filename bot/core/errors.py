"""The kinds of failure: the operator's input, a line that fails, a broken promise of our own."""


class BotError(Exception):
    """Something the bot cannot continue with. The text is written for the operator."""

    exit_code = 1
    says_where = False
    """the text has a line for each mistake, each with its own place"""


class InputError(BotError):
    """What the operator gave us is wrong: configuration, options or data files. Exit code 2."""

    exit_code = 2


class InvariantError(BotError):
    """A rule that must always hold does not. The process must end: state can no longer be
    trusted."""


class UnreachableError(BotError):
    """A read of the exchange failed, or nothing could be sent. It says nothing: never read it as
    flat."""

    exit_code = 75


class NoAnswerError(BotError):
    """Something was sent to the exchange and no answer came: it may have been done."""

    exit_code = 75

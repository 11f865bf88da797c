"""An answer that is not 200000: KuCoin's code and text, and the HTTP status it comes with."""


class RefusedError(Exception):
    """The exchange says no. Business errors come with HTTP 200, authentication with 401."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = status


def bad_parameter(message: str) -> RefusedError:
    """Return the refusal of a request that makes no sense."""
    return RefusedError("100001", message)


def not_simulated(what: str) -> RefusedError:
    """Return the refusal of what the real exchange has and this one does not."""
    return RefusedError("300000", f"{what} is not part of the simulator")

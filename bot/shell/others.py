"""What an account shows that is not the bot's, in words: a kill leaves it and says so."""

from collections.abc import Sequence

MOST_SHOWN = 5


def position_text(name: str) -> str:
    """Return the words for a position in a contract that is not configured."""
    return f"position in {name}"


def order_text(client_id: str, symbol: str | None) -> str:
    """Return the words for an order; None is a contract that is not configured."""
    return f"order {client_id} {'in another contract' if symbol is None else 'on ' + symbol}"


def told_of_others(texts: Sequence[str]) -> dict[str, object]:
    """Return what the answer to a kill or a close says of them: `foreign` and `note`, or nothing.

    It is flat all the same: trying again changes nothing, and what others hold is theirs.

    >>> told_of_others(["position in PEPEUSDTM"])["note"]
    "not the bot's and not touched: position in PEPEUSDTM; look at the exchange's own page"
    """
    if not texts:
        return {}
    more = len(texts) - MOST_SHOWN
    shown = ", ".join([*texts[:MOST_SHOWN], *([f"{more} more"] if more > 0 else [])])
    note = f"not the bot's and not touched: {shown}; look at the exchange's own page"
    return {"foreign": list(texts), "note": note}

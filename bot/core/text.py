"""What people and other programs write, made safe to store, to send and to print."""

MOST_BYTES = 1_000


def clean(text: object, most: int = MOST_BYTES) -> str:
    """Return `text` as UTF-8 can hold it, in at most `most` bytes.

    What is no character (half of a pair, a byte of another encoding) becomes `?`, control
    characters become spaces.

    >>> clean("Stra\\udcdfe\\n")
    'Stra?e '
    """
    shown = "".join(" " if c < " " or c == "\x7f" else c for c in str(text))
    return shown.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")

"""The files with the API key: whose they are, and what is in them."""

import os
from pathlib import Path

import pytest

from bot.shell.credentials import NAMES, NoCredentialsError, load_credentials


def folder(where: Path, mode: int) -> Path:
    """Write the three files with these rights."""
    for name in NAMES:
        (where / name).write_text(f"{name} itself\n", encoding="utf-8")
        (where / name).chmod(mode)
    return where


@pytest.mark.parametrize("named", [False, True], ids=["by systemd", "by option, too"])
def test_what_systemd_hands_over_shows_as_readable_by_its_group(
    tmp_path: Path, named: bool
) -> None:
    """Since 254 it lets a service with User= in by an access list: -r--r-----+ root root.

    Source: systemd/systemd#29435.
    """
    keys = folder(tmp_path, 0o440)
    found = load_credentials(keys if named else None, {"CREDENTIALS_DIRECTORY": f"{keys}/"})
    assert (found.key, found.secret) == ("kucoin_key itself", "kucoin_secret itself")


@pytest.mark.parametrize("mode", [0o640, 0o440, 0o604, 0o601])
def test_a_persons_own_files_are_for_the_owner_alone(tmp_path: Path, mode: int) -> None:
    keys = folder(tmp_path, mode)
    with pytest.raises(NoCredentialsError, match=f"0600 or less, was {mode:04o}: chmod 600"):
        load_credentials(keys, {"CREDENTIALS_DIRECTORY": str(tmp_path / "another")})


def test_what_systemd_hands_over_is_not_for_everybody(tmp_path: Path) -> None:
    keys = folder(tmp_path, 0o444)
    with pytest.raises(NoCredentialsError, match="was 0444"):
        load_credentials(None, {"CREDENTIALS_DIRECTORY": str(keys)})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n", "was empty"),
        ("secret-1\nsecret-2\n\n", "was 2 lines"),
        ("secret-1\r\nsecret-2", "was 2 lines"),
        ("\ufeffsecret-1\n", "was a line with a character that cannot be seen"),
        ("secret\x00-1", "was a line with a character that cannot be seen"),
    ],
)
def test_a_file_that_holds_more_than_its_line_says_what_and_never_the_value(
    tmp_path: Path, text: str, said: str
) -> None:
    keys = folder(tmp_path, 0o600)
    (keys / "kucoin_secret").write_text(text, encoding="utf-8", newline="")
    with pytest.raises(NoCredentialsError) as refused:
        load_credentials(keys, {})
    path = keys / "kucoin_secret"
    assert str(refused.value) == f"credentials: {path}: expected one line of text, {said}"


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    keys = folder(tmp_path, 0o600)
    (keys / "kucoin_key").unlink()
    os.mkfifo(keys / "kucoin_key", 0o600)
    with pytest.raises(NoCredentialsError, match="kucoin_key: expected a file, was something else"):
        load_credentials(keys, {})

"""Whose a new file is and who may use it: people act on a bot's files as root, under any umask."""

import os
from pathlib import Path

OURS = 0o640
"""the group reads: dashboard and notifier (DESIGN section 6)"""


def give(handle: int, folder: Path, mode: int = OURS) -> None:
    """Give an open file, which this process has made, `mode` and, as root, the folder's owner.

    Raises OSError.
    """
    os.fchmod(handle, mode)
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(handle, owner.st_uid, owner.st_gid)


def make_folder(folder: Path) -> None:
    """Make a folder if it is not there, as root for the owner of the one above. Raises OSError."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        owner = folder.parent.stat()
        os.chown(folder, owner.st_uid, owner.st_gid)

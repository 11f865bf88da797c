"""`python -m bot` is `radbot`."""

import sys

from bot.shell.cli import main

sys.exit(main())

"""What the last process had decided to say, and did not live to: it is said at the next start.

An incident is in the journal before anything is done about it; its message is left for the notifier
after the orders of the turn have gone out. A process that is killed in between has told nobody.
"""

import logging

from bot.adapters.logs import redact
from bot.core.messages import Level
from bot.shell.daemon import Daemon

log = logging.getLogger("radbot")


def tell_untold(daemon: Daemon) -> None:
    """Leave the messages of incidents that nobody has been told of.

    The journal may not know yet of the newest that were: those are in the outbox.
    """
    parts = daemon.parts
    untold = parts.journal.untold()
    if not untold:
        return
    written = {(m.get("kind"), m.get("body"), m.get("market_ms")) for m in parts.outbox.written()}
    late = 0
    for now_ms, level, kind, symbol, text in untold:
        if (kind, redact(daemon.body(text, symbol)), now_ms) not in written:
            daemon.tell(Level(level), kind, text, now_ms, symbol)
            late += 1
    if late:
        log.warning("messages: %d of the last run had not been left for the notifier", late)
    daemon.post()

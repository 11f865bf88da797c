"""A lasting paper bot without its daemon: opened, recovered, and driven bar by bar by a test."""

from collections.abc import Sequence
from pathlib import Path

from bot.core.state import State
from bot.shell.assemble import Bot, begin_run, open_paper_bot, recover_bot
from bot.shell.config import Config
from bot.shell.engine import Outcome
from bot.shell.paper import Source


def recovered(config: Config, source: Source, folder: Path, now: int | None = None) -> Bot:
    """Return the bot of a state directory, recovered at market time `now` (default: its own)."""
    bot = open_paper_bot(config, source, folder, durable=False)

    def commit(outcomes: Sequence[Outcome], state: State) -> bool:
        bot.journal.commit(outcomes, state)
        return True

    begin_run(bot, config, {})
    bot.engine.commit = commit
    recover_bot(bot, config, bot.engine.state.now_ms if now is None else now)
    return bot

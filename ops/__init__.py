"""Everything around the bot: research, reports, gate, release, notification."""

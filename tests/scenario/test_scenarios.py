"""Stories of a trade, each a text beside this file. Read tests/support/stories.py for the words.

`REWRITE_SCENARIOS=1 pytest tests/scenario` writes what the core does now into the texts; review the
difference before it is committed.
"""

import os
from pathlib import Path

import pytest

from tests.support.stories import play

STORIES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    story = path.read_text(encoding="utf-8")
    told = play(story)
    if os.environ.get("REWRITE_SCENARIOS"):
        path.write_text(told, encoding="utf-8")
    else:
        assert told == story


def test_every_story_says_what_it_guards_and_expects_something() -> None:
    assert len(STORIES) >= 10
    for path in STORIES:
        story = path.read_text(encoding="utf-8")
        assert story.startswith("# "), path.name
        assert "\n----\n" in story, path.name


def test_a_story_that_is_not_true_is_noticed() -> None:
    assert play("# x\nbars 100\n----\nnothing\n") == "# x\nbars 100\n----\nnothing\n"
    assert play("# x\nbars 101\n----\nnothing\n") != "# x\nbars 101\n----\nnothing\n"


def test_a_word_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(KeyError, match="jump"):
        play("jump 3\n----\nnothing\n")

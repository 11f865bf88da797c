"""A parsed HTML page, for assertions about what a browser would see."""

import json
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link"}  # the elements of the page that have no end tag


class Page(HTMLParser):
    """A parsed page: elements in order, attributes, the text of each element by its name."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]][-1] += data

    def data(self) -> Any:
        """Return what the page gives to report.js."""
        return json.loads(self.texts["script"][0])

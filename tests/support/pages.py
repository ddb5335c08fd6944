"""Read the HTML of pages: sections, tables, links and drawings."""

from html.parser import HTMLParser
from typing import NamedTuple


class Section(NamedTuple):
    """A section of a page.

    Attributes:
        rows: the texts of its table, line by line, with the head.
        links: the links in it by their text.
        titles: the texts that drawings show under the pointer, and the titles of charts.
    """

    rows: list[list[str]]
    links: dict[str, str]
    titles: list[str]


class Page(HTMLParser):
    """The parts of a page.

    Attributes:
        tags: all tags with their attributes.
        sections: the sections by their names; the empty name stands for everything outside.
        text: the whole text.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, Section] = {"": Section([], {}, [])}
        self.text = ""
        self._section = self.sections[""]
        self._open: dict[str, list[str]] = {}
        self._href = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag == "section":
            self._section = self.sections[attributes.get("id") or ""] = Section([], {}, [])
        elif tag == "tr":
            self._section.rows.append([])
        elif tag in ("td", "th", "a", "title"):
            self._open[tag] = []
            self._href = attributes.get("href") or self._href

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._section = self.sections[""]
        text = "".join(self._open.pop(tag, ()))
        if tag in ("td", "th"):
            self._section.rows[-1].append(text)
        elif tag == "a":
            self._section.links[text] = self._href
        elif tag == "title":
            self._section.titles.append(text)

    def handle_data(self, data: str) -> None:
        self.text += data
        for texts in self._open.values():
            texts.append(data)

    def find_all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all tags with a name."""
        return [attributes for name, attributes in self.tags if name == tag]

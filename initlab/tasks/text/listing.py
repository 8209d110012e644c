"""Entries of the texts for `python -m initlab data`."""

from __future__ import annotations

from pathlib import Path

from initlab.tasks.entry import Entry
from initlab.tasks.text import files, packaged, shakespeare


def entries(home: Path) -> list[Entry]:
    """One entry a text, `home` being the data root. Reads nothing and fetches nothing."""
    place = shakespeare.shakespeare_path(home)

    def yours(name: str, title: str, licence: str, source: str, where: str) -> Entry:
        return Entry(
            name=name,
            title=title,
            examples=None,
            classes=None,
            shape=None,
            megabytes=0,
            licence=licence,
            source=source,
            present=True,
            where=where,
        )

    return [
        Entry(
            name="python_topics",
            title="English prose: Python's help topics, 465,000 characters",
            examples=7264,
            classes=103,
            tokens=True,
            shape=(64,),
            megabytes=0,
            licence=packaged.LICENCE,
            source=packaged.SOURCE,
            present=True,
            where="inside Python itself",
        ),
        Entry(
            name="tiny_shakespeare",
            title="plays of Shakespeare, 1,115,394 characters",
            examples=17_427,
            classes=65,
            tokens=True,
            shape=(64,),
            megabytes=1,
            licence=shakespeare.LICENCE,
            source=shakespeare.URL,
            present=place.is_file(),
            where=str(place),
        ),
        yours(
            "wikitext2",
            "2 million words of Wikipedia's articles",
            "CC BY-SA 3.0",
            files.WIKITEXT2_SOURCE,
            "data=wikitext2 data.path=FOLDER",
        ),
        yours(
            "ptb",
            "1 million words of news, the Penn Treebank",
            "LDC User Agreement",
            files.PTB_SOURCE,
            "data=ptb data.path=FOLDER",
        ),
        yours("hf_text", "text saved by Hugging Face datasets", "", "your files", "data=hf_text data.path=FOLDER"),
        yours("text_file", "your own text, in UTF-8", "", "your files", "data=text_file data.path=FILE.txt"),
    ]

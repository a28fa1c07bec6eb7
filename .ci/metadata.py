"""What the package index shows: a README whose links and pictures work there, and where the project lies.

That is the repository which builds it: XLIR_REPOSITORY, or what GitHub Actions says. Without one, links into the
repository become their words, and its pictures are left out.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]\[]*)\]\((?![a-z]+:)([^)\s]+)\)")


class IndexMetadata(MetadataHookInterface):
    """The fields `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling for every wheel and source distribution."""
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        stated = re.search(
            r'__version__ = "(.+)"', Path(self.root, "xlir_bench/version.py").read_text("utf-8")
        )
        home = repository()
        text = for_index(readme, home, f"v{stated[1]}" if stated else "HEAD")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        pages = {"Source": "", "Changelog": "/blob/HEAD/CHANGELOG.md", "Issues": "/issues"}
        metadata["urls"] = {name: home + page for name, page in pages.items()} if home else {}


def repository() -> str:
    """The address of the repository; empty where nothing says it."""
    server, name = (os.environ.get(f"GITHUB_{part}") for part in ("SERVER_URL", "REPOSITORY"))
    stated = os.environ.get("XLIR_REPOSITORY") or (f"{server}/{name}" if server and name else "")
    return stated.rstrip("/")


def for_index(readme: str, home: str, ref: str) -> str:
    """The README with absolute links to the files as they were at `ref`."""

    def absolute(link: re.Match[str]) -> str:
        picture, words, target = link.groups()
        if not home:
            return "" if picture else words
        if target.startswith("#"):
            target = f"README.md{target}"
        return f"{picture}[{words}]({home}/{'raw' if picture else 'blob'}/{ref}/{target})"

    pieces = re.split(r"(^```.*?^```$)", readme, flags=re.MULTILINE | re.DOTALL)
    return "".join(LINK.sub(absolute, p) if i % 2 == 0 else p for i, p in enumerate(pieces))

"""`./farm screenshots DIR`: pictures of every page of an invented farm, wide and narrow, light and dark.

Writes PAGE-WIDTH-THEME.png and index.html, which shows them beside each other. Nothing leaves this machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path

from ..support.browser import missing, running_browser
from .addresses import ADMIN_PAGES, PAGES, THEMES, WIDTHS, Shown
from .visits import Farms, Visits

SHEET = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Pages of Seeder Farm</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 24px; background: #f3f4f4; color: #111 }}
section {{ margin-bottom: 40px }} h2 {{ margin: 0 0 8px }}
div {{ display: flex; gap: 16px; align-items: start; overflow-x: auto }}
img {{ display: block; height: 420px; width: auto; border: 1px solid #bbb; background: #fff }}
</style></head><body><h1>Pages of Seeder Farm</h1>
<p>{about}</p>
{sections}
</body></html>
"""


def take(
    directory: Path, pages: Sequence[Shown], report: Callable[[str], None] = lambda text: None
) -> list[Path]:
    """Write pictures of these pages and the sheet; return the paths of the pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with ExitStack() as stack:
        farms = Farms()
        stack.callback(farms.dispose)
        visits = stack.enter_context(Visits(stack.enter_context(running_browser()), farms))
        for number, shown in enumerate(pages, 1):
            report(f"{number} of {len(pages)}: {shown.name}")
            for width in WIDTHS:
                with visits.showing(shown, width) as visitor:
                    visitor.make_as_high_as_the_page()
                    for theme in THEMES:
                        visitor.show_in(theme)
                        written.append(directory / name_of(shown, width, theme))
                        visitor.page.screenshot(path=written[-1], animations="disabled")
    (directory / "index.html").write_text(sheet(pages))
    return written


def name_of(shown: Shown, width: int, theme: str) -> str:
    return f"{shown.name}-{width}-{theme}.png"


def sheet(pages: Sequence[Shown]) -> str:
    """All pictures on one page."""
    sections = []
    for shown in pages:
        names = [name_of(shown, width, theme) for width in WIDTHS for theme in THEMES]
        pictures = "".join(
            f'<a href="{escape(name)}"><img src="{escape(name)}" alt="{escape(name)}" loading="lazy"></a>'
            for name in names
        )
        viewer = shown.account or "anonymous visitors"
        sections.append(
            f"<section><h2>{escape(shown.name)}</h2><p><code>{escape(shown.path)}</code>, by {viewer}</p>"
            f"<div>{pictures}</div></section>"
        )
    sizes = " and ".join(f"{width} px" for width in WIDTHS)
    about = f"{len(pages)} pages of an invented farm at {sizes}, {' and '.join(THEMES)}."
    return SHEET.format(about=about, sections="\n".join(sections))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="./farm screenshots",
        description="Write pictures of every page of an invented farm, wide and narrow, light and dark.",
    )
    parser.add_argument("directory", type=Path, help="where index.html and the pictures are written")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="this page alone; may be repeated"
    )
    options = parser.parse_args()
    all_pages = [*PAGES, *ADMIN_PAGES]
    names = [shown.name for shown in all_pages]
    if unknown := [name for name in options.only if name not in names]:
        parser.error(f"no page is called {unknown[0]}; there are {', '.join(names)}")
    if (reason := missing()) is not None:
        print(f"screenshots: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    chosen = [shown for shown in all_pages if not options.only or shown.name in options.only]
    written = take(options.directory, chosen, lambda text: print(text, file=sys.stderr))  # noqa: T201
    print(f"{len(written)} pictures: {options.directory / 'index.html'}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())

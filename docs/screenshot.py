"""A picture of a report page: ``python docs/screenshot.py report.html page.png --width 1280 --height 800``."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def take(page: Path, picture: Path, *, width: int, height: int, scheme: str, part: str, whole: bool) -> None:
    """Open a page in a browser and write what is on its screen.

    Args:
        page: The file.
        picture: The PNG to write.
        width, height: Of the window, in pixels.
        scheme: ``light`` or ``dark``.
        part: A CSS selector of what to scroll to; the beginning where empty.
        whole: Whether the page is shown in its whole length.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        opened.goto(page.resolve().as_uri())
        opened.wait_for_selector("body[data-ready]")
        if part:
            opened.locator(part).evaluate("element => element.scrollIntoView()")
        opened.screenshot(path=picture, full_page=whole)
        browser.close()


def main() -> None:
    """Take the picture that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--part", default="", help="a CSS selector of what to scroll to")
    parser.add_argument("--whole", action="store_true", help="the page in its whole length")
    take(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()

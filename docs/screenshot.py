"""A picture of a report page: ``python docs/screenshot.py report.html page.png --height 800``."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH = 1280
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def take(page: Path, picture: Path, *, height: int, part: str) -> None:
    """Open a page in a browser and write what is on its screen.

    Args:
        page: The file.
        picture: The PNG to write.
        height: Of the window, in pixels.
        part: A CSS selector of what to scroll to; the beginning where empty.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme="light")
        opened.goto(page.resolve().as_uri())
        opened.wait_for_selector("body[data-ready]")
        if part:
            opened.locator(part).evaluate("element => element.scrollIntoView()")
        opened.screenshot(path=picture)
        browser.close()


def main() -> None:
    """Take the picture that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--part", default="", help="a CSS selector of what to scroll to")
    take(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()

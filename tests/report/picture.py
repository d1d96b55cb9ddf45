"""Take the picture of docs/report.md: python tests/report/picture.py REPORT.html PICTURE.png."""

import io
import sys
from pathlib import Path

from chromium import ABSENT, launch_options
from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1000, "height": 1150}


def take(page, out):
    options = launch_options()
    if options is None:
        sys.exit(ABSENT)
    with sync_playwright() as started:
        chromium = started.chromium.launch(**options)
        light, dark = (
            chromium.new_page(viewport=SIZE, color_scheme=scheme, reduced_motion="reduce")
            for scheme in ("light", "dark")
        )
        for opened in (light, dark):
            opened.goto(page.resolve().as_uri())
            opened.locator(".map svg").first.wait_for()
        # The answer by day, the map by night.
        top = light.screenshot()
        dark.locator(".map input").focus()
        dark.locator(".map").evaluate("map => map.closest('section').scrollIntoView()")
        below = dark.screenshot()
        chromium.close()
    picture = Image.new("RGB", (2 * SIZE["width"], SIZE["height"]))
    for i, shot in enumerate((top, below)):
        picture.paste(Image.open(io.BytesIO(shot)), (i * SIZE["width"], 0))
    picture = picture.resize((1400, 805), Image.Resampling.LANCZOS)
    out.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(256, kmeans=1).save(out, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))

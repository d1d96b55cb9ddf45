"""A browser for the tests of the page: the one of scripts/browser, or an installed Chromium."""

import os
import shutil
import sys
from pathlib import Path

import pytest

HOME = Path(os.environ.get("ASTERISM_BROWSER") or Path(sys.prefix) / "browser")


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    installed = shutil.which("chromium") or shutil.which("chromium-browser")
    options = {"executable_path": installed}
    if (HOME / "chromium").exists():
        libraries = {
            "LD_LIBRARY_PATH": str(HOME / "al2023" / "lib"),
            "FONTCONFIG_PATH": str(HOME / "fonts"),
        }
        options = {"executable_path": HOME / "chromium", "env": {**os.environ, **libraries}}
    elif installed is None:
        pytest.skip("no Chromium: `scripts/browser` fetches one, or install the package chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(**options)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def axe():
    """Return the source of axe-core, which finds faults of accessibility."""
    file = HOME / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists():
        pytest.skip("no axe-core: `scripts/browser` fetches it")
    return file.read_text(encoding="utf-8")

"""A browser for the tests of the page."""

import pytest
from report.chromium import ABSENT, HOME, launch_options


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    options = launch_options()
    if options is None:
        pytest.skip(ABSENT)
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

"""Where the browser of the tests is: the one of scripts/browser, or an installed Chromium."""

import os
import shutil
import sys
from pathlib import Path

HOME = Path(os.environ.get("ASTERISM_BROWSER") or Path(sys.prefix) / "browser")
ABSENT = "no Chromium: `scripts/browser` fetches one, or install the package chromium"


def launch_options():
    """Return what Playwright needs to start it, None if there is none."""
    if (HOME / "chromium").exists():
        libraries, fonts = str(HOME / "al2023" / "lib"), str(HOME / "fonts")
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries, "FONTCONFIG_PATH": fonts}
        return {"executable_path": HOME / "chromium", "env": environment}
    installed = shutil.which("chromium") or shutil.which("chromium-browser")
    return None if installed is None else {"executable_path": installed}

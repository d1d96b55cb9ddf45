"""`asterism list`."""

from collections.abc import Sequence

from asterism import methods
from asterism.cli.mistakes import UsageError
from asterism.models import BUILT_IN

DATA = {
    "digits": "scikit-learn's 8x8 digits, built in",
    "FILE.npz": "x: uint8 images (n, h, w[, c]); y: class numbers (optional)",
    "FOLDER": "pictures, FOLDER/CLASS/*.jpg with labels or FOLDER/*.jpg without",
}


def run(arguments: Sequence[str]) -> None:
    """Print what can be named on the command line."""
    if arguments:
        raise UsageError(f"asterism list takes no arguments; got {' '.join(arguments)}.")
    print("methods (--method NAME; `asterism distill --method.help NAME` shows the options)")
    for name in methods.__all__:
        method = getattr(methods, name)
        print(f"  {name:<6} {method.__doc__.splitlines()[0]}\n{'':9}{method.paper}")
    print("\nmodels (--teacher, --student; MODEL?weights=FILE&key=value)")
    print(f"  {', '.join(BUILT_IN)}")
    print("  path/to/file.py:factory   your own module")
    print("  runs/NAME                 the student of an earlier run")
    print("\ndata (--data, --validation-data, --test-data)")
    for name, what in DATA.items():
        print(f"  {name:<9} {what}")

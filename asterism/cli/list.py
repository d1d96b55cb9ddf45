"""`asterism list`."""

from collections.abc import Sequence

from asterism import methods
from asterism.cli.mistakes import UsageError
from asterism.models import BUILT_IN

DATA = {
    "digits": "scikit-learn's 8x8 digits, built in",
    "FOLDER": "pictures, FOLDER/CLASS/*.jpg with labels or FOLDER/*.jpg without",
    "FILE.npz": "x: uint8 images (n, h, w[, c]); y: class numbers (optional)",
    "FILE.csv?text=COLUMN&label=COLUMN": "a table of texts, or ?image=COLUMN of pictures' paths;"
    " also .tsv, .jsonl, .parquet",
    "FILE.txt": "texts, one per line",
    "hf/NAME?split=train": "a data set of Hugging Face; also a folder of save_to_disk",
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
    print(
        "  timm/NAME  torchvision/NAME  hf/ORG/NAME  st/ORG/NAME   other libraries (docs/models.md)"
    )
    print("  runs/NAME                 the student of an earlier run")
    print("  FILE.npy  FILE.npz …      a teacher that is only its outputs")
    print("\ndata (--data, --validation-data, --test-data)")
    for name, what in DATA.items():
        print(f"  {name:<34} {what}")

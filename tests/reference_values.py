"""Reference values: outputs of the authors' own code, or transcriptions of formulas."""

import numpy as np


class Fixture:
    """The cases of one file of reference values: `fixture["case"]["field"]`."""

    def __init__(self, path):
        self.arrays = np.load(path)
        self.cases = sorted({key.split("/")[0] for key in self.arrays})

    def __getitem__(self, case):
        prefix = f"{case}/"
        return {
            key.removeprefix(prefix): self.arrays[key]
            for key in self.arrays
            if key.startswith(prefix)
        }

"""Pictures a second and core: a folder of JPEGs as asterism reads it, and a plain loader beside it.

    python benchmarks/pictures.py [--pictures 300] [--rounds 5]

Synthetic JPEGs of 500×375 pixels, about as many bytes as photographs of that size have. The plain
loader is the usual one: a Dataset that opens a file by Pillow, converts it to RGB, resizes its
shorter side, cuts the middle out and returns float32, in torch's DataLoader. Both have one worker
process; rates are by the processor's time of all processes, so that a busy machine changes little.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from asterism.data import Loader, open_source

BATCH = 50


class Plain(Dataset[torch.Tensor]):
    """The loader that is written first."""

    def __init__(self, files: list[Path], size: int) -> None:
        self.files, self.size = files, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, row: int) -> torch.Tensor:
        with Image.open(self.files[row]) as opened:
            picture = opened.convert("RGB")
        scale = self.size / min(picture.size)
        width, height = (round(side * scale) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        picture = picture.crop((left, top, left + self.size, top + self.size))
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| size | plain loader | asterism | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        files = made(Path(folder), asked.pictures)
        for size in (224, 112, 64):
            source = open_source(folder, image_size=size)
            rows = [list(range(i, i + BATCH)) for i in range(0, len(files), BATCH)]
            plain, ours = [], []
            for _ in range(asked.rounds):
                plain.append(rate(DataLoader(Plain(files, size), BATCH, num_workers=1), len(files)))
                ours.append(rate(Loader(source, iter(rows), workers=1), len(files)))
            ratio = statistics.median(b / a for a, b in zip(plain, ours, strict=True))
            figures = statistics.median(plain), statistics.median(ours)
            print(f"| {size}×{size} | {figures[0]:,.0f} | {figures[1]:,.0f} | {ratio:.2f} |")


def made(folder: Path, count: int) -> list[Path]:
    """Write pictures with structure at all scales."""
    draw = np.random.default_rng(0)
    files = []
    for number in range(count):
        values = np.zeros((375, 500, 3))
        for side in (4, 16, 64, 250):
            small = Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8))
            values += np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC), float) / 4
        files.append(folder / f"{number:05}.jpg")
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def rate(loader: DataLoader, pictures: int) -> float:
    """Return pictures per second of the processor, of this process and its worker."""
    begun = now()
    for _ in loader:
        pass
    del loader
    return pictures / (now() - begun)


def now() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


if __name__ == "__main__":
    main()

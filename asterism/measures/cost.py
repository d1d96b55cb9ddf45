"""The cost of a model: parameters, bytes, latency, throughput."""

import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from asterism.measures.embedding import evaluating
from asterism.types import Samples

# Runs before the clock starts, in which memory is allocated and kernels are chosen.
WARM_UP = 2
# Seconds for the passes of one batch size, after which those that were taken are enough: of a large
# network on a processor twenty would take an hour.
LONGEST = 10.0


@dataclass(frozen=True)
class Cost:
    """Size and speed of a model.

    Attributes:
        parameters: Number of parameters, shared ones once.
        bytes: Size of its state (parameters and buffers) in its own types, shared tensors once.
        embedding_dim: Width of its embedding.
        latency_ms: Median time of one forward pass in milliseconds, by batch size.
        flops: Floating-point operations of one sample in matrix products, convolutions and
            attention, as PyTorch counts them: a multiplication and an addition are two.
        quartiles_ms: Between which two times the middle half of the passes lay, by batch size.
        passes: How many passes each median is taken from, at least.
        machine: On what, as `machine_of` names it.
    """

    parameters: int
    bytes: int
    embedding_dim: int
    latency_ms: dict[int, float]
    flops: int
    quartiles_ms: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    passes: int = 0
    machine: str = ""

    @property
    def throughput(self) -> dict[int, float]:
        """Return samples per second, by batch size."""
        return {n: 1000 * n / ms for n, ms in self.latency_ms.items()}

    @property
    def index_bytes(self) -> int:
        """Return the size of a million embeddings in float32."""
        return 4 * 1_000_000 * self.embedding_dim


def cost(
    model: nn.Module,
    example: Samples,
    *,
    batch_sizes: Sequence[int] = (1, 64),
    repeats: int = 20,
) -> Cost:
    """Measure a model in eval mode without gradients; afterwards its modes are as they were.

    Args:
        model: Takes samples and returns `Outputs`.
        example: One sample or more, as the model takes them, on the model's device; repeated to
            fill a batch.
        batch_sizes: Sizes of the batches to time.
        repeats: How many passes the median is taken from, after a short warm-up; fewer of a model
            that is so slow that they would take longer than some seconds.

    Returns:
        The measures. Times are those of this machine, with its present load and threads.

    Raises:
        ValueError: If there is no example, or a batch size or `repeats` is below 1.

    Examples:
        >>> from asterism.types import Outputs
        >>> class Student(nn.Linear):
        ...     def forward(self, rows):
        ...         return Outputs(super().forward(rows))
        >>> measured = cost(Student(4, 2), torch.zeros(1, 4))
        >>> measured.parameters, measured.bytes, measured.embedding_dim
        (10, 40, 2)
    """
    if len(example) < 1 or min(*batch_sizes, repeats) < 1:
        raise ValueError(
            "cost needs an example, batch sizes and repeats of at least 1; got "
            f"{len(example)} examples, batch_sizes={tuple(batch_sizes)}, repeats={repeats}."
        )
    state = model.state_dict(keep_vars=True).values()
    tensors = {id(x): x for x in state if isinstance(x, Tensor)}.values()
    with evaluating(model):
        embedding = model(example).embedding
        times = {n: _times(model, _repeated(example, n), repeats) for n in batch_sizes}
        return Cost(
            parameters=sum(x.numel() for x in model.parameters()),
            bytes=sum(x.numel() * x.element_size() for x in tensors),
            embedding_dim=embedding.shape[1],
            latency_ms={n: statistics.median(taken) for n, taken in times.items()},
            flops=_flops(model, _repeated(example, 1)),
            quartiles_ms={n: _middle(taken) for n, taken in times.items()},
            passes=min(len(taken) for taken in times.values()),
            machine=machine_of(embedding.device),
        )


def machine_of(device: torch.device) -> str:
    """Name what a model runs on, as far as times can be compared: the GPU, or CPU and threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _flops(model: nn.Module, sample: Tensor | list[str]) -> int:
    with FlopCounterMode(display=False) as counter:
        model(sample)
    return int(counter.get_total_flops())


def _repeated(example: Samples, n: int) -> Samples:
    if isinstance(example, Tensor):
        return example[torch.arange(n) % len(example)]
    return [example[i % len(example)] for i in range(n)]


def _times(model: nn.Module, batch: Samples, repeats: int) -> list[float]:
    """Return the milliseconds of so many passes, fewer of a slow model, after some to warm up."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < WARM_UP + repeats:
        start = time.perf_counter()
        if len(times) > 1 and start - begun > LONGEST:
            break
        embedding = model(batch).embedding
        if embedding.device.type != "cpu":
            torch.accelerator.synchronize(embedding.device)
        times.append(1000 * (time.perf_counter() - start))
    return times[WARM_UP:] or times[-1:]


def _middle(times: Sequence[float]) -> tuple[float, float]:
    if len(times) < 2:
        return times[0], times[0]
    first, _, third = statistics.quantiles(times, n=4, method="inclusive")
    return first, third

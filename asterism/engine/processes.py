"""The processes of a training: started here or by a launcher; device and precision."""

import os
import queue
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib.util import find_spec
from multiprocessing.connection import wait
from pickle import PicklingError
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration

from asterism.run import Run
from asterism.settings import Settings, launched

PRECISION = {"32": "no", "bf16": "bf16", "16": "fp16"}
# The others wait for the first process while it measures, or fills a cache.
PATIENCE = timedelta(days=7)
# Exit code of a process that has lost the others.
LOST = 3


class Preempted(SystemExit):
    """The training was asked to end (SIGTERM) and has saved its state."""

    def __init__(self) -> None:
        """End with the exit code of a process that SIGTERM ends."""
        super().__init__(128 + signal.SIGTERM)


@contextmanager
def processes(settings: Settings) -> Iterator[None]:
    """Join the processes that a launcher has started, for the length of the `with` block.

    Raises:
        ValueError: If there are not as many as the settings say.
    """
    _read_slurm(settings)
    if settings.processes > 1 and launched() != settings.processes:
        raise ValueError(
            f"{settings.devices} devices on {settings.nodes} machines need {settings.processes} "
            f"processes, and {launched()} runs: start them with torchrun, accelerate launch or "
            "Slurm."
        )
    joined = dist.is_available() and dist.is_initialized()
    if not joined:
        _refuse_stale_addresses()
    accelerator_of(settings)
    try:
        yield
        if dist.is_available() and dist.is_initialized():
            dist.barrier()  # nobody leaves while another still waits for what it sent
    finally:
        if not joined:
            if dist.is_available() and dist.is_initialized():
                dist.destroy_process_group()
            # Of the next training in this process, which may have another precision.
            AcceleratorState._reset_state(reset_partial_state=True)


def _refuse_stale_addresses() -> None:
    """Raise a ValueError if torchrun, starting its workers again, hands on what the others left.

    Its store has the addresses of those before under the same names (pytorch/pytorch#135712):
    processes that look for one another there wait for ever.
    """
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if again and launched() > 1 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise ValueError(
            "torchrun's store still has the addresses of the workers before these: "
            "set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 where torchrun is started."
        )


def accelerator_of(settings: Settings, run: Run | None = None) -> Accelerator:
    """Return device, precision and trackers of a training, the same object wherever it is asked.

    Args:
        settings: How to train.
        run: Where TensorBoard's files go, for a training that is tracked.
    """
    trackers = {} if run is None or settings.log is None else _trackers(settings, run)
    return Accelerator(
        cpu=settings.device.type == "cpu",
        mixed_precision=PRECISION[settings.precision],
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        **trackers,
    )


def _trackers(settings: Settings, run: Run) -> dict[str, Any]:
    if find_spec(str(settings.log)) is None:
        raise ValueError(f"log {settings.log} needs its library: pip install 'asterism[log]'.")
    folder = str(run.logs)
    return {
        "log_with": settings.log,
        "project_config": ProjectConfiguration(project_dir=folder, logging_dir=folder),
    }


def starts_processes(settings: Settings) -> bool:
    """Return whether this process has to start those that train, as no launcher has."""
    return settings.processes > 1 and launched() == 1 and not _of_slurm(settings)


def started(settings: Settings, train: Callable[[Any], None], request: Any) -> None:
    """Call a function in a process for each device of this machine, and wait for all of them.

    Args:
        settings: How to train.
        train: What each process calls; importable by its name.
        request: Its argument, which must be picklable.

    Raises:
        ValueError: If the request holds what cannot be sent to a process, or as the first process
            that failed says.
        Preempted: If they were asked to end and have saved.
    """
    if settings.nodes > 1:
        raise ValueError(
            f"{settings.nodes} machines need a launcher on each: torchrun, accelerate launch, or "
            "Slurm."
        )
    spawn = torch.multiprocessing.get_context("spawn")  # threads and GPUs do not survive a fork
    said = spawn.Queue()
    port = _free_port()
    count = settings.devices
    places = [(rank, count, port, said, train, request) for rank in range(count)]
    children = [spawn.Process(target=_child, args=place) for place in places]
    with _forwarding_sigterm(children):
        try:
            for child in children:
                child.start()
            _wait(children)
        except (AttributeError, TypeError, PicklingError) as error:
            raise ValueError(
                "several devices train in processes of their own, which must each open teacher, "
                "student and data: give them by name, not as objects, or start the script with "
                f"torchrun ({error})."
            ) from error
        finally:
            for child in children:
                if child.pid is not None and child.is_alive():
                    child.kill()
    _raise_for(children, said)


def _wait(children: list[Any]) -> None:
    """Wait until all have ended, or one has failed."""
    while alive := [child.sentinel for child in children if child.is_alive()]:
        wait(alive)
        if any(child.exitcode for child in children):
            for child in children:  # the others may be about to say the same
                child.join(timeout=10)
            return


def _raise_for(children: list[Any], said: Any) -> None:
    """Raise what the processes ended with, if not all of them are done."""
    codes = [child.exitcode for child in children]
    if not any(codes):
        return
    if 128 + signal.SIGTERM in codes:
        raise Preempted
    with suppress(queue.Empty):
        raise ValueError(said.get(timeout=1))
    killed = [code for code in codes if code is not None and code < 0]
    how = f"killed by signal {-killed[0]}" if killed else "ended, and said above why"
    raise ValueError(f"a process of the training was {how}. Go on with --resume.")


def _child(
    rank: int, count: int, port: int, said: Any, train: Callable[[Any], None], request: Any
) -> None:
    """Be one of the processes of a training."""
    _end_with_parent()
    threads = max(1, torch.get_num_threads() // count)
    torch.set_num_threads(threads)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
    }
    try:
        train(request)
    except KeyboardInterrupt:
        os._exit(130)
    except (ValueError, OSError) as error:
        said.put(str(error))
        said.close()
        said.join_thread()
        os._exit(2)  # without waiting for the other ranks
    except RuntimeError as error:
        if "onnection" not in str(error):
            raise
        os._exit(LOST)  # another rank has ended, and has said why or cannot


def _end_with_parent() -> None:
    """End this process when the one that started it is killed: nobody waits for what it does."""
    parent = torch.multiprocessing.get_context("spawn").parent_process()
    if parent is None:
        return

    def watch(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


@contextmanager
def _forwarding_sigterm(children: list[Any]) -> Iterator[None]:
    """Pass SIGTERM on to the processes that can save their state."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def forward(*signalled: Any) -> None:
        for child in children:
            if child.is_alive():
                child.terminate()

    before = signal.signal(signal.SIGTERM, forward)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def _of_slurm(settings: Settings) -> bool:
    """Return whether Slurm has started the processes: in an interactive shell it starts one."""
    tasks = os.environ.get("SLURM_NTASKS", "1")
    return "SLURM_PROCID" in os.environ and int(tasks) == settings.processes > 1


def _read_slurm(settings: Settings) -> None:
    """Tell torch what Slurm's variables say."""
    if launched() > 1 or not _of_slurm(settings):
        return
    job = int(os.environ.get("SLURM_JOB_ID", "0"))
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "WORLD_SIZE": os.environ["SLURM_NTASKS"],
        "MASTER_ADDR": os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1"),
        # All processes of a job take the same one, and jobs on one machine different ones.
        "MASTER_PORT": os.environ.get("MASTER_PORT", str(15000 + job % 20000)),
    }

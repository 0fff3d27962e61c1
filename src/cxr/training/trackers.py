"""TensorBoard, MLflow, Weights & Biases and curves.png: what each does with the numbers of log.jsonl.

None uses the network unless the user asks for it in the tracker's own variables. `tracking` feeds them.
"""

import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

from cxr.config.key_tree import flatten
from cxr.config.schema import Config
from cxr.errors import CxrError
from cxr.files import write_bytes
from cxr.report.curves import draw_curves
from cxr.report.run_files import CURVES, LOG, read_log
from cxr.training.events import Events

Numbers = Mapping[str, float]
Fact = str | int | float
Ending = Literal["finished", "stopped", "failed"]

_PROJECT = "cxr"
_SENT = ("seed", "recipe", "image", "model", "loss", "train")
"""Keys and sections whose values trackers get. Those of `data` and `store` hold paths, and stay here."""


@dataclass(frozen=True)
class Start:
    """What a tracker is told when a training begins.

    Attributes:
        folder: The run folder.
        step: The step before the first one that is trained now.
        run_id: The tracker's run that is continued; None for a new one.
        facts: Values of the recipe by key, without any path.
    """

    folder: Path
    step: int
    run_id: str | None
    facts: Mapping[str, Fact]

    @property
    def name(self) -> str:
        """How trackers call the run."""
        return self.folder.resolve().name


class Tracker(Protocol):
    """A tracker's run. Every method may raise whatever the tracker's library raises, or never return."""

    @property
    def run_id(self) -> str | None:
        """By which a resumed training finds the run; None where none is needed."""

    def write(self, step: int, numbers: Numbers) -> None:
        """Add the numbers of a step, by name."""

    def close(self, ending: Ending) -> None:
        """End the run."""


def choose(config: Config) -> tuple[str, ...]:
    """The trackers that a recipe asks for.

    Raises:
        CxrError: One of those that log.to names is not installed.
    """
    # nothing is asked for: what is installed is used, and nothing is missed
    if config.log.to is None:
        return ("tensorboard",) if _is_installed("tensorboard") else ()
    missing = [name for name in config.log.to if not _is_installed(name)]
    if missing:
        problems = [f"log.to: {name} is not installed" for name in missing]
        raise CxrError(problems, f"pip install 'cxr[{','.join(missing)}]', or leave it out of log.to")
    return config.log.to


def _is_installed(name: str) -> bool:
    spec = find_spec(name)
    return spec is not None and spec.origin is not None  # a folder of that name is no package


def describe(config: Config) -> dict[str, Fact]:
    """Values of the recipe by key, for trackers: none is a path or says anything of an image."""
    values = config.model_dump(mode="json")
    facts: dict[str, Fact] = {
        key: value if isinstance(value, int | float) else str(value)
        for key, value in flatten({key: values[key] for key in _SENT}).items()
    }
    weights = config.model.weights
    if not (weights in ("imagenet", "none") or weights.startswith("xrv:")):
        facts["model.weights"] = "a file"
    facts["data.source"] = ", ".join(part.source for part in (config.data, *config.data.also))
    return facts


class _Curves:
    """curves.png in the run folder, drawn after every epoch from log.jsonl."""

    run_id = None

    def __init__(self, start: Start) -> None:
        self._folder = start.folder

    def write(self, step: int, numbers: Numbers) -> None:
        if any(name.startswith("epoch/") for name in numbers):
            write_bytes(self._folder / CURVES, draw_curves(read_log(self._folder / LOG, warns=False)))

    def close(self, ending: Ending) -> None:
        pass


class _TensorBoard:
    """Events in `tensorboard/` of the run folder."""

    run_id = None

    def __init__(self, start: Start) -> None:
        self._events = Events(start.folder / "tensorboard", start.step)

    def write(self, step: int, numbers: Numbers) -> None:
        self._events.add(step, numbers)

    def close(self, ending: Ending) -> None:
        self._events.close()


class _MLflow:
    """A run of MLflow: at MLFLOW_TRACKING_URI, or else in `mlruns/` of the run folder."""

    def __init__(self, start: Start) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # without it, MLflow wants a database in place of a folder, which its client alone cannot open
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._make_metric = Metric
        folder = (start.folder / "mlruns").absolute()
        self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or folder.as_uri())
        if start.run_id and self._continue(start.run_id):
            self.run_id = start.run_id
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _PROJECT
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        self.run_id = self._client.create_run(experiment, run_name=start.name).info.run_id
        parameters = [Param(key, str(value)) for key, value in start.facts.items()]
        self._client.log_batch(self.run_id, params=parameters)

    def _continue(self, run_id: str) -> bool:
        """Whether the run could be set to running again: a store elsewhere may not have it."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.update_run(run_id, status="RUNNING")
        except MlflowException:
            return False
        return True

    def write(self, step: int, numbers: Numbers) -> None:
        # milliseconds, as MLflow has it
        now = time.time_ns() // 1_000_000
        metrics = [self._make_metric(name, value, now, step) for name, value in numbers.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def close(self, ending: Ending) -> None:
        status = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}[ending]
        self._client.set_terminated(self.run_id, status)


class _WandB:
    """A run of Weights & Biases: offline, in `wandb/` of the run folder, unless WANDB_MODE says otherwise."""

    def __init__(self, start: Start) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self.run_id = start.run_id or secrets.token_hex(4)
        # neither what is printed, nor code, command line, git remote, host or hardware
        settings = wandb.Settings(
            console="off",
            silent=True,
            disable_code=True,
            disable_git=True,
            disable_job_creation=True,
            x_save_requirements=False,
            host="",
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
        )
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or _PROJECT,
            name=start.name,
            id=self.run_id,
            resume="allow",
            dir=start.folder,
            mode=os.environ.get("WANDB_MODE") or "offline",
            config=dict(start.facts),
            settings=settings,
        )
        # its own count of steps cannot go back to where a run is resumed
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, numbers: Numbers) -> None:
        self._run.log({"step": step, **numbers})

    def close(self, ending: Ending) -> None:
        self._run.finish(exit_code=0 if ending == "finished" else 1)


OPEN: dict[str, Callable[[Start], Tracker]] = {
    CURVES: _Curves,
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "wandb": _WandB,
}
"""How the run of each tracker is opened."""

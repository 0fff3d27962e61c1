"""How often `cxr predict` warns of images unlike those of training, by kind of image and by kind of score.

`python -m benchmarks.ood [--nih FOLDER]` trains a small model on generated images (and one on the dataset in
FOLDER, laid out as ChestX-ray14) and prints the tables of docs/out-of-distribution.md. `--seed` draws other
patients, weights and patterns; `--val-fraction` is the dataset's fraction of patients that validate.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import logit
from sklearn.neighbors import NearestNeighbors

from benchmarks.ood_images import Squares, changed, invented
from cxr.config.load import override
from cxr.config.schema import Config, Phantom
from cxr.data.dataset import open_dataset
from cxr.data.placement import SharedPixels
from cxr.distributed import World
from cxr.images.prepare import prepare
from cxr.images.read import read_file
from cxr.model.candidate import Candidate, open_candidate
from cxr.model.checkpoint import Checkpoint
from cxr.model.ood import RATE
from cxr.model.ood_fit import fit_gaussian
from cxr.model.predict import ood_vectors, predict_squares
from cxr.phantom.dataset import generate
from cxr.training.train import train

Float = npt.NDArray[np.float64]
Score = Callable[[Float], Float]
_NEIGHBOURS, _FOLDS, _MOST = 5, 3, 200


def recipe(folder: Path, source: str, root: Path, val_fraction: float, seed: int = 0) -> Config:
    """A small ResNet at 64 pixels; many patients validate, since few known images make a loose limit."""
    values = {
        "out": folder / f"run-{source}",
        "seed": seed,
        "data": {
            "source": source,
            "root": root,
            "val_fraction": val_fraction,
            "split_seed": seed,
            "missing": "skip",
        },
        "image": {"store_size": 64, "size": 64},
        "store": {"path": folder / f"store-{source}"},
        "model": {"backbone": "resnet18", "weights": "none"},
        "train": {"epochs": 3, "batch_size": 32, "lr": 1e-3, "ema": 0.99},
    }
    return override(Config.model_validate(values), [])


def trained(config: Config) -> Candidate:
    """A model trained by the recipe, with its data."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = train(config, open_dataset(config), World(0, 1, 1, device))
    return open_candidate(run, [], SharedPixels(device))


def values_of(checkpoint: Checkpoint, squares: Squares) -> tuple[Float, Float]:
    """(the detector's input [n, d], logits [n, C]) of prepared images [n, S, S]."""
    parts = []
    for start in range(0, len(squares), 64):
        images = torch.from_numpy(np.ascontiguousarray(squares[start : start + 64]))
        p, features = predict_squares(checkpoint, images)
        logits = logit(np.clip(p.cpu().numpy().astype(np.float64), 1e-9, 1 - 1e-9))
        parts.append((ood_vectors(features, images).cpu().numpy().astype(np.float64), logits))
    return np.concatenate([values for values, _ in parts]), np.concatenate([logits for _, logits in parts])


def rows_of(candidate: Candidate, fold: str) -> Squares:
    """Packed images [n, S, S] of a fold."""
    dataset = candidate.dataset
    return np.asarray(dataset.store.pixels[dataset.index[dataset.rows(fold)]])


def shown(candidate: Candidate, others: Mapping[str, Squares]) -> dict[str, Squares]:
    """Held-out radiographs, the same changed, other radiographs, and images that are none."""
    test = rows_of(candidate, "test")[:_MOST]
    config = candidate.config
    none = invented(config.image.store_size, seed=config.seed)
    return {"test images (should not alarm)": test, **changed(test), **others, **none}


def alarm_rates(candidate: Candidate, kinds: Mapping[str, Squares]) -> dict[str, float]:
    """The share of images of each kind that raise the warning of `cxr predict`."""
    detector = candidate.checkpoint.ood
    assert detector
    return {
        kind: float(
            (detector.score(values_of(candidate.checkpoint, images)[0]) > detector.measured.limit).mean()
        )
        for kind, images in kinds.items()
    }


def mahalanobis(rows: Float) -> Score:
    """Logarithm of the distance under a shrunk covariance."""
    return fit_gaussian(rows).log_distance


def neighbours(rows: Float) -> Score:
    """Cosine distance to the fifth nearest row."""
    index = NearestNeighbors(n_neighbors=_NEIGHBOURS, metric="cosine").fit(rows)
    return lambda values: np.asarray(index.kneighbors(values)[0][:, -1])


def energy(rows: Float) -> Score:
    """Minus the sum of log(1 + exp(logit)): the energy of a multi-label classifier; nothing is fitted."""
    return lambda values: np.asarray(-np.logaddexp(0, values).sum(axis=1))


def compared(candidate: Candidate, kinds: Mapping[str, Squares]) -> dict[str, dict[str, float]]:
    """Alarm rates by kind of single scores, each with its own limit from patients it was not fitted on."""
    checkpoint, ids = candidate.checkpoint, candidate.dataset.table.rows["patient_id"]
    patients = ids.iloc[candidate.dataset.rows("val")].to_numpy()
    known, known_logits = values_of(checkpoint, rows_of(candidate, "val"))
    width = checkpoint.classifier.head.in_features
    parts = {
        "features": slice(0, width),
        "thumbnail": slice(width, width + 64),
        "texture": slice(width + 64, None),
    }
    methods = {f"Mahalanobis, {name}": (mahalanobis, part) for name, part in parts.items()}
    methods |= {"cosine to the 5th neighbour, features": (neighbours, parts["features"])}
    seen = {kind: values_of(checkpoint, images) for kind, images in kinds.items()}
    table = {}
    for name, (method, part) in methods.items():
        table[name] = _rates(
            method, known[:, part], patients, {kind: v[:, part] for kind, (v, _) in seen.items()}
        )
    logits = {kind: found for kind, (_, found) in seen.items()}
    table["energy, logits"] = _rates(energy, known_logits, patients, logits)
    return table


def _rates(
    method: Callable[[Float], Score], known: Float, patients: npt.NDArray[np.str_], kinds: Mapping[str, Float]
) -> dict[str, float]:
    numbers = np.unique(patients, return_inverse=True)[1]
    fold = np.random.default_rng(0).permutation(int(numbers.max()) + 1)[numbers] % _FOLDS
    held_out = np.concatenate([method(known[fold != away])(known[fold == away]) for away in range(_FOLDS)])
    limit = np.quantile(held_out, 1 - RATE, method="higher")
    score = method(known)
    return {kind: float((score(values) > limit).mean()) for kind, values in kinds.items()}


def report(candidate: Candidate, others: Mapping[str, Squares]) -> None:
    """Print the table of one model."""
    kinds = shown(candidate, others)
    kept = alarm_rates(candidate, kinds)
    single = compared(candidate, kinds)
    assert candidate.checkpoint.ood
    print(f"The warning is {candidate.checkpoint.ood.measured}.\n")
    print(f"| shown | images | cxr predict | {' | '.join(single)} |")
    print("| --- |" + " ---: |" * (len(single) + 2))
    for kind, images in kinds.items():
        cells = " | ".join(f"{rates[kind]:.1%}" for rates in (kept, *single.values()))
        print(f"| {kind} | {len(images)} | {cells} |", flush=True)
    print()


def _read(files: list[Path], candidate: Candidate) -> Squares:
    return np.stack(
        [prepare(read_file(file), candidate.checkpoint.metadata.preprocess) for file in files[:_MOST]]
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nih", type=Path, help="folder laid out as ChestX-ray14")
    parser.add_argument("--val-fraction", type=float, default=0.6, help="of the dataset in --nih")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    nih: Path | None = chosen.nih
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "phantom", Phantom(num_images=600, size=64, seed=chosen.seed))
        ours = sorted((folder / "phantom").glob("images/*.png"))
        theirs = sorted(nih.glob("images*/**/*.png")) if nih else []
        candidate = trained(recipe(folder, "phantom", folder / "phantom", 0.3, chosen.seed))
        report(candidate, {"radiographs of ChestX-ray14": _read(theirs, candidate)} if theirs else {})
        if nih:
            candidate = trained(recipe(folder, "nih", nih, chosen.val_fraction, chosen.seed))
            report(candidate, {"generated chests": _read(ours, candidate)})


if __name__ == "__main__":
    main()

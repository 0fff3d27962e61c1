"""Whether two evaluations have the same labels: a hash of them, whatever the order of images and findings."""

import hashlib

import numpy as np

from cxr.evaluation.predictions import Predictions


def hash_labels(predictions: Predictions) -> str:
    """SHA-256 of the images' file names with their labels: 1, 0, or - where a label is unknown.

    Names without folders, as copies of a dataset lie in other folders. Findings come in alphabetical order.
    """
    order = sorted(range(len(predictions.findings)), key=lambda c: predictions.findings[c])
    y = predictions.y[:, order]
    letters = np.where(np.isnan(y), "-", np.where(y == 1, "1", "0"))
    names = (image.rsplit("/", 1)[-1] for image in predictions.rows["image"].astype(str))
    lines = [f"{name} {''.join(row)}" for name, row in zip(names, letters, strict=True)]
    header = " ".join(predictions.findings[c] for c in order)
    # Sorted, so that the order of the rows does not count; lone surrogates of odd names are kept.
    text = "\n".join([header, *sorted(lines)])
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

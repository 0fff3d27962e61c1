"""Features of many images in two dimensions: PCA, and UMAP where it is installed."""

import warnings
from importlib.util import find_spec

import numpy as np

from cxr.arrays import Float32, Float64
from cxr.errors import CxrError

_NEIGHBOURS = 15  # UMAP's default


def check_umap() -> None:
    """Refuse `--umap` without the package.

    Raises:
        CxrError: It is not installed.
    """
    if find_spec("umap") is None:
        raise CxrError(
            "--umap: the package umap-learn is not installed", "pip install 'cxr[umap]', or leave it out"
        )


def embed_pca(features: Float32) -> tuple[Float64, Float64]:
    """(the first two principal components [n, 2] of features [n, D], the share of variance of each [2]).

    Features are centred and not scaled: their scale is the one that the head sees. With one image, or
    features that do not vary, all is 0.
    """
    from sklearn.decomposition import PCA

    places, shares = np.zeros((len(features), 2)), np.zeros(2)
    num = min(2, *features.shape)
    centred = features.astype(np.float64)
    if len(features) < 2 or not centred.std(axis=0).any():
        return places, shares
    # Eigenvectors of the covariance [D, D] where that is smaller than the features [n, D].
    pca = PCA(num, svd_solver="covariance_eigh" if features.shape[1] < len(features) else "full")
    places[:, :num] = pca.fit_transform(centred)
    shares[:num] = pca.explained_variance_ratio_
    return places, shares


def embed_umap(features: Float32) -> Float64:
    """UMAP [n, 2] of features [n, D] (McInnes et al. 2018) with its defaults and random state 0.

    Raises:
        CxrError: Too few images.
    """
    if len(features) <= _NEIGHBOURS:
        raise CxrError(f"--umap: {len(features)} images are too few", f"it needs more than {_NEIGHBOURS}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a random state makes it use one thread
        import umap  # type: ignore[import-not-found,unused-ignore]  # an extra, which may be absent

        return np.asarray(
            umap.UMAP(n_neighbors=_NEIGHBOURS, random_state=0).fit_transform(features), np.float64
        )

"""What a network has learned as a document and a CSV file."""

from pathlib import Path

from cxr.csv_files import write_tables
from cxr.explain.change_tables import About, first_lines
from cxr.explain.inspect import Inspected
from cxr.explain.inspect_figures import draw_embedding, draw_filters, draw_layer
from cxr.explain.sample import Sample
from cxr.files import write_text
from cxr.report import html
from cxr.report.document import (
    Document,
    Figure,
    Gallery,
    Items,
    Part,
    Section,
    Table,
    Text,
    Thumbnail,
    two_columns,
)
from cxr.text import DISCLAIMER

TABLE = "embedding.csv"
_FILTERS = (
    "Each small square is a filter as it acts on grey pixels: white adds, black subtracts. Filters of a "
    "network that was trained long on many images are mostly smooth; grain is left of random first weights."
)
_LAYERS = (
    "The 16 channels with the highest mean, on one scale for the layer. A channel shows where something "
    "excites it, not what that is or whether it matters."
)
_CHANNELS = (
    "For each finding the channel of the last block that raises its logit most: weight in the head times the "
    "deviation of the pooled activation over the images. Below: the images of four patients that activate it "
    "most, coloured from 0 to the channel's largest value among them. Images that look alike in another way "
    "than the finding hint at a shortcut."
)
_EMBEDDING = (
    "Each dot is an image, placed by the network's pooled features. Groups that lie apart by view or dataset "
    "show that the features hold these; see cxr shortcuts for a measure. Distances in two dimensions show a "
    "part of the features alone."
)


def write(found: Inspected, sample: Sample, folder: Path) -> None:
    """Write `inspect.html` and `embedding.csv`, atomically; the owner alone may read them."""
    write_tables(folder, {TABLE: found.embedding}, private=(TABLE,))
    write_text(folder / "inspect.html", html.render(document(found, sample)), private=True)


def document(found: Inspected, sample: Sample) -> Document:
    """The page."""
    jpeg = _encode(found)
    shown = Gallery("Image", (Thumbnail(jpeg, found.image, ""),))
    layers = [draw_layer(name, maps) for name, maps in found.layers.items()]
    channels: list[Part] = [Text(_CHANNELS), _channel_table(found)]
    for channel in found.channels:
        title = f"{channel.finding}: channel {channel.number}"
        channels += [Text("", label=title), Gallery(title, channel.thumbnails, is_wide=True)]
    return Document(
        "What the network has learned",
        (
            Section("First layer", (Text(_FILTERS), draw_filters(found.filters))),
            Section("Activations of one image", (Text(_LAYERS), shown, *layers)),
            Section("Channels of the last block", tuple(channels)),
            Section("Embedding of the test images", (Text(_EMBEDDING), *_embeddings(found, sample))),
            two_columns("", sample.about, ("About", "")),
            Items(found.notes, "Notes", "note"),
        ),
    )


def _encode(found: Inspected) -> bytes:
    import cv2

    square = cv2.resize(found.square, (256, 256), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


def _channel_table(found: Inspected) -> Table:
    rows = tuple(
        (channel.finding, str(channel.number), channel.weight, channel.spread) for channel in found.channels
    )
    columns = ("Finding", "Channel", "Weight", "Deviation of the logit")
    return Table("Channel that raises each finding's logit most", columns, rows, "lrrr")


def _embeddings(found: Inspected, sample: Sample) -> tuple[Figure, ...]:
    shares = [
        f"component {place} ({share:.0%} of the variance)" for place, share in enumerate(found.variance, 1)
    ]
    places = found.embedding[["pc_1", "pc_2"]].to_numpy()
    title = "Principal components of the features"
    figures = [draw_embedding("pca", title, places, (shares[0], shares[1]), sample.predictions)]
    if "umap_1" in found.embedding:
        placed = found.embedding[["umap_1", "umap_2"]].to_numpy()
        title = "UMAP of the features: neighbours stay neighbours, distances mean little"
        figures.append(draw_embedding("umap", title, placed, ("UMAP 1", "UMAP 2"), sample.predictions))
    return tuple(figures)


def summary(found: Inspected, about: About) -> tuple[Text | Table, ...]:
    """For a terminal of 80 columns."""
    layers = "; ".join(
        f"{name} {len(maps)} x {maps.shape[1]} x {maps.shape[2]}" for name, maps in found.layers.items()
    )
    shares = " and ".join(f"{share:.0%}" for share in found.variance)
    return (
        *first_lines(about),
        Text(f"{layers}, of {found.image}", label="Activations"),
        Text(f"PCA, with {shares} of the variance; {TABLE} has it", label="Embedding"),
        Text(""),
        _channel_table(found),
        Text(""),
        *(Text(f"Note: {note}", "note") for note in found.notes),
        Text(DISCLAIMER, "soft"),
    )

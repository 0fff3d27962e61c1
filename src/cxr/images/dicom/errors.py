"""Why a DICOM file is refused."""


class RefusedError(Exception):
    """Why a file is not read; becomes an UnreadableImageError with the file's name."""


def several_frames(num_frames: int) -> RefusedError:
    """The error for a film."""
    return RefusedError(
        f"DICOM file of {num_frames:,} frames: only one image per file is read; "
        "export the frame as a separate file"
    )


def no_decoder(compression: str) -> RefusedError:
    """The error for a compression that no installed package reads."""
    return RefusedError(
        f"DICOM pixels in {compression}, which no installed decoder reads; pip install 'cxr[dicom]' adds some"
    )

"""Whether a checkpoint is a whole file of torch's, as far as that shows without torch and without unpickling it."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

# torch.save writes a zip file with the pickle under this name, in a folder of the archive's own.
PICKLE = "/data.pkl"
NO_FILE = "is no file"


def fault(file: Path, whole: bool = False) -> str | None:
    """What is wrong with a checkpoint, to stand after the file's name; None where nothing shows.

    It sees a file that is missing, empty, cut off, overwritten from its end on, or of another format: the zip file's
    list of contents, which stands at its end, has to be there and to name the pickle. whole: every byte is read and
    compared with its checksum too, so that no overwritten weights go unseen. Neither tells whether a model can be
    built of it.
    """
    if not file.exists():
        return "is missing"
    if not file.is_file():
        return NO_FILE
    try:
        with zipfile.ZipFile(file) as archive:
            if not any(name.endswith(PICKLE) for name in archive.namelist()):
                return "is no checkpoint of lvm_lab"
            torn = archive.testzip() if whole else None
    except zipfile.BadZipFile:
        return "is no whole checkpoint"
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        return f"cannot be read ({type(error).__name__})"
    return f"is no whole checkpoint ({torn} does not fit its checksum)" if torn else None

"""Image files of your own: a folder for each class, or a table of files; see `conf/data/image_folder.yaml`."""

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.importing.importer import imported, last_report
from class_sensitivity.data.importing.report import ImportReport
from class_sensitivity.data.importing.settings import ImportSettings


def load(directory: str | None = None, download: bool = False, **options: object) -> ImageArrays:
    """The images as memory maps of the cache; they are imported into it if they are not there yet.

    Args:
        directory: `data.dir`.
        download: Without effect: nothing is fetched.
        options: The further settings, the fields of `ImportSettings`.

    Raises:
        ConfigError: A setting is not known or out of bounds.
        DataError: There is no data set, a file is broken, or the cache cannot be written.
    """
    return imported(ImportSettings.of(directory, options)).arrays


def digest(directory: str | None = None, **options: object) -> str:
    """What tells this data set from others: classes, split, labels, contents of files, and what changes pixels.

    Files with the size and the time of change that they had at the import are not read again, so that a change that
    keeps both is not noticed.

    Raises:
        ConfigError: As `load`.
        DataError: As `load`.
    """
    return imported(ImportSettings.of(directory, options)).digest


def class_names(directory: str | None = None, **options: object) -> tuple[str, ...]:
    """The names of the classes; the images are imported if they are not yet, as for the digest.

    Raises:
        ConfigError: As `load`.
        DataError: As `load`.
    """
    return imported(ImportSettings.of(directory, options)).arrays.class_names


def import_report(directory: str | None = None, **options: object) -> ImportReport | None:
    """What is known of the latest import from this place; None where there was none. Looks at no image file.

    Its `digest` says whether it is about the data set of a run: the files may have changed since.

    Raises:
        ConfigError: As `load`.
        DataError: What was found there last does not make a data set with these settings.
    """
    return last_report(ImportSettings.of(directory, options))

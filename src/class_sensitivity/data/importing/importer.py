"""Imports image files once: what is unchanged comes from the cache, anything else is read, decoded and kept."""

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from class_sensitivity.data.arrays import ImageArrays
from class_sensitivity.data.importing.cache import ArrayWriter, Cache, Index
from class_sensitivity.data.importing.decoding import FileFacts, file_digest, read_image
from class_sensitivity.data.importing.listing import ImageFile, Listing, list_files, shown
from class_sensitivity.data.importing.report import ImportReport, describe
from class_sensitivity.data.importing.selection import Selection, select
from class_sensitivity.data.importing.settings import ImportSettings
from class_sensitivity.errors import DataError
from class_sensitivity.machine import parallel_runs

#: Images that are decoded before the next ones are begun, and bytes of pixels that they hold in memory, at most.
_CHUNK, _CHUNK_BYTES = 256, 2**26

#: Broken files that a message names; all of them are in a file.
_NAMED = 20


@dataclass(frozen=True, eq=False)
class Imported:
    """A data set that was imported.

    Attributes:
        digest: What tells it from every other.
        arrays: Its images, as memory maps of the cache.
    """

    digest: str
    arrays: ImageArrays


# Kept, so that digest and arrays of a process belong together though the folder changes in the meantime, and so that a
# sweep of hundreds of runs looks at the files once.
@lru_cache(maxsize=8)
def imported(settings: ImportSettings) -> Imported:
    """Imports a data set, or opens what was imported before; looks at the files once in a process.

    Files with the size and the time of change that they had are taken to be unchanged, also if something changed them
    and kept both; others are read.

    Raises:
        DataError: There is no data set, a file is broken, or the cache cannot be written.
    """
    cache, listing = Cache(settings), list_files(settings)
    index = cache.read_index()
    if index is not None and (facts := _unchanged_facts(listing, index)) is not None:
        selection = _selected(listing, facts, settings, cache)
        if (found := _open(cache, selection, settings)) is not None:
            if index.listing != listing:
                cache.write_index(Index(listing, facts))
            return found
    return _import(cache, listing, settings)


def last_report(settings: ImportSettings) -> ImportReport | None:
    """The report on what was imported last from a place; None where nothing was. Looks at no image.

    Raises:
        DataError: What was found there last does not make a data set with these settings.
    """
    cache = Cache(settings)
    index = cache.read_index()
    if index is None:
        return None
    return describe(_selected(index.listing, index.facts, settings, cache), index.listing, settings)


def _open(cache: Cache, selection: Selection, settings: ImportSettings) -> Imported | None:
    """What was imported before; None where it was not."""
    digest = selection.digest(settings)
    numbers = (len(selection.train), len(selection.test))
    images = cache.open_arrays(digest, (*settings.image_size, settings.channels), numbers)
    if images is None:
        return None
    train_labels, test_labels = selection.labels(selection.train), selection.labels(selection.test)
    return Imported(digest, ImageArrays(images[0], train_labels, images[1], test_labels, selection.class_names))


# What is known already


def _unchanged_facts(listing: Listing, index: Index) -> tuple[FileFacts, ...] | None:
    """The facts of every file; None where a file has content that was not seen before.

    A file that was touched or moved is read for its digest alone.
    """
    before = {file.path: (file, facts) for file, facts in zip(index.listing.files, index.facts, strict=True)}
    by_content = {facts.sha256: facts for facts in index.facts if facts.sha256}
    known: list[FileFacts] = []
    for file in listing.files:
        old, facts = before.get(file.path, (None, None))
        unchanged = old is not None and (old.size, old.changed_ns) == (file.size, file.changed_ns)
        # A file that could not be opened may have been given free since.
        if facts is None or not unchanged or (not facts.sha256 and file.size >= 0):
            digest = file_digest(file)
            if digest or (facts is not None and facts.sha256):
                facts = by_content.get(digest)
        if facts is None:
            return None
        known.append(facts)
    return tuple(known)


# Reading


def _import(cache: Cache, listing: Listing, settings: ImportSettings) -> Imported:
    """Reads and decodes every file."""
    begun = time.perf_counter()
    with cache.writing((*settings.image_size, settings.channels), len(listing.files)) as writer:
        facts = _read_all(listing.files, settings, writer)
        _refuse_changes(listing, list_files(settings))
        cache.write_index(Index(listing, facts))
        selection = _selected(listing, facts, settings, cache)
        writer.put_in_place(selection.digest(settings), selection.train, selection.test)
    found = _open(cache, selection, settings)
    if found is None:
        raise DataError(f"What was imported into {shown(str(cache.folder))} was removed at once; run it again.")
    print(f"Imported in {time.perf_counter() - begun:.1f} s, kept in {shown(str(cache.folder / found.digest))}:")
    for sentence in describe(selection, listing, settings).sentences():
        print(f"  {sentence}", flush=True)
    return found


def _read_all(files: tuple[ImageFile, ...], settings: ImportSettings, writer: ArrayWriter) -> tuple[FileFacts, ...]:
    """The facts of every file; its pixels go to the writer.

    Threads do the work, because Pillow decodes and scales without holding Python's lock.
    """
    facts: list[FileFacts] = []
    height, width = settings.image_size
    chunk = max(1, min(_CHUNK, _CHUNK_BYTES // (height * width * settings.channels)))
    read = partial(read_image, settings=settings)
    pool = ThreadPoolExecutor(parallel_runs(threads=1))
    # Set here and not where a file is read: filters of warnings are those of the process.
    with _progress(len(files)) as advance, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for start in range(0, len(files), chunk):
                images = []
                for fact, pixels in pool.map(read, files[start : start + chunk]):
                    facts.append(fact)
                    images.append(pixels)
                    advance()
                writer.write(images)
        finally:
            pool.shutdown(cancel_futures=True)
    return tuple(facts)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar with the time left, on a terminal; gives what advances it by one image."""
    console = Console(stderr=True)
    columns = (TextColumn("Importing images"), BarColumn(), MofNCompleteColumn(), TextColumn("left"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def _refuse_changes(before: Listing, after: Listing) -> None:
    if before == after:
        return
    old, new = set(before.files), set(after.files)
    changed = sorted(file.path for file in old ^ new) or sorted(set(before.ignored) ^ set(after.ignored))
    raise DataError(
        f"{shown(changed[0])} changed while the images were read ({len(set(changed)):,} files did); run it again when "
        "nothing writes there."
    )


def _selected(listing: Listing, facts: tuple[FileFacts, ...], settings: ImportSettings, cache: Cache) -> Selection:
    """The files that make up the data set.

    Raises:
        DataError: Some are broken and are not to be left out; or what is left makes no data set.
    """
    broken = [
        f"{shown(file.path)} (it {fact.defect})"
        for file, fact in zip(listing.files, facts, strict=True)
        if fact.defect is not None
    ]
    if broken and not settings.skip_broken:
        written = cache.write_broken(broken)
        more = f", and {len(broken) - _NAMED:,} more" if len(broken) > _NAMED else ""
        raise DataError(
            f"{len(broken):,} of {len(listing.files):,} files cannot be used: {', '.join(broken[:_NAMED])}{more}; "
            f"{shown(str(written))} lists them all: mend or remove them, or leave them out with data.skip_broken=true."
        )
    return select(listing, facts, settings)

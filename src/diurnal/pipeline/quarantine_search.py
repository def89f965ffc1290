"""Search of what rejected batches have left for a key: the folders of the quarantine, and the errors of failures.

Rejected rows are not valid: the key may be in another column, or have another type. So a folder is found where the
values of the key are the text of a cell in any column or a word of a text file, and where a file cannot be searched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from diurnal.errors import NotFoundError
from diurnal.pipeline.expired_data import quarantine_folders

if TYPE_CHECKING:
    from diurnal.storage.lake import Lake
    from diurnal.storage.stores import Stores

ERASED = "[erased]"
_BYTES_PER_READ = 2**24
_TEXTS = (".csv", ".json", ".jsonl", ".ndjson", ".tsv", ".txt")


def searchable_texts(values: Iterable[Any]) -> list[str] | None:
    """Return the values of a key as files have them; None if files may write them in another way.

    Examples
    --------
    >>> searchable_texts([42, "north-7"]), searchable_texts([1.5]), searchable_texts(["Zoë"])
    (['42', 'north-7'], None, None)
    """
    values = list(values)
    is_plain = all(
        type(value) is int or (isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][\w .:@+-]*", value, re.ASCII))
        for value in values
    )
    return [str(value) for value in values] if is_plain else None


def find_rejected(stores: Stores, experiment: str, texts: Collection[str] | None) -> dict[str, list[str]]:
    """Return the folders of rejected batches that may have a key, with the paths of their files.

    Parameters
    ----------
    stores : Stores
        The stores.
    experiment : str
        Name of the experiment.
    texts : collection of str or None
        The values of the columns of the key; None: all folders may have it.
    """
    folders = quarantine_folders(stores, experiment)
    return {
        folder: files
        for folder, files in folders.items()
        if texts is None or any(_may_contain(stores.lake, path, texts) for path in files)
    }


def redact_errors(stores: Stores, experiment: str, values: Iterable[Any]) -> dict[int, dict[str, Any]]:
    """Return the errors of failures that name a key, by their number, with its values replaced."""
    patterns, found = [_word(str(value)) for value in values], {}
    for failure in stores.warehouse.failures(experiment):
        redacted = _redact(failure["error"], patterns)
        if redacted != failure["error"]:
            found[failure["failure_id"]] = redacted
    return found


def _may_contain(lake: Lake, path: str, texts: Collection[str]) -> bool:
    """Return whether a file has all values of a key, or cannot be searched."""
    try:
        if path.endswith(".arrow"):
            return _cells_contain(lake, path, texts)
        if path.endswith(_TEXTS):
            return _text_contains(lake, path, texts)
    except (NotFoundError, FileNotFoundError):
        return False
    except ValueError:  # also that of Arrow: the file is not what its name says
        return True
    return True


def _cells_contain(lake: Lake, path: str, texts: Collection[str]) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = set(texts)
    with lake.fs.open(lake.url(path), "rb") as stream, pa.ipc.open_file(stream) as reader:
        for number in range(reader.num_record_batches):
            for column in reader.get_batch(number).columns:
                try:
                    cells = column.cast(pa.string())
                except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # nested or bytes: it cannot be searched
                    return True
                found = pc.is_in(pa.array([form for text in missing for form in (text, f"{text}.0")]), cells)
                pairs = zip(missing, found.to_pylist()[::2], found.to_pylist()[1::2], strict=True)
                missing = {text for text, *forms in pairs if not any(forms)}
                if not missing:
                    return True
    return False


def _text_contains(lake: Lake, path: str, texts: Collection[str]) -> bool:
    patterns = {text: re.compile(_word(text).pattern.encode()) for text in texts}
    longest = max(len(text.encode()) for text in texts) + 1
    tail = b""
    with lake.fs.open(lake.url(path), "rb") as stream:
        while chunk := stream.read(_BYTES_PER_READ):
            patterns = {text: one for text, one in patterns.items() if not one.search(tail + chunk)}
            if not patterns:
                return True
            tail = (tail + chunk)[-longest:]
    return False


def _word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")


def _redact(value: Any, patterns: Collection[re.Pattern[str]]) -> Any:
    if isinstance(value, str):
        for pattern in patterns:
            value = pattern.sub(ERASED, value)
        return value
    if isinstance(value, Mapping):
        return {key: _redact(one, patterns) for key, one in value.items()}
    if isinstance(value, list):
        return [_redact(one, patterns) for one in value]
    return ERASED if any(pattern.fullmatch(str(value)) for pattern in patterns) else value

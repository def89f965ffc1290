"""Search of what rejected batches have left for a key: the folders of the quarantine, and the errors of failures.

Rejected rows are not valid: the key may be in another column, or have another type, or be written in another way. So a
folder is found where the values of the key are the text of a cell in any column or a word of a text file, and where a
file cannot be searched. A whole number is found with leading zeros and with marks between its thousands as well.
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
_UNREADABLE = re.compile(rb"[\x00-\x08\x0e-\x1f]|\\u00[2-7]")  # compressed, UTF-16, or ASCII that JSON escapes


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

    missing = {text: rf"^\s*\+?{_spellings(text)}(\.0*)?\s*$" for text in texts}
    with lake.fs.open(lake.url(path), "rb") as stream, pa.ipc.open_file(stream) as reader:
        for number in range(reader.num_record_batches):
            for column in reader.get_batch(number).columns:
                try:
                    cells = column.cast(pa.string())
                except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # nested or bytes: it cannot be searched
                    return True
                found = {
                    text for text, form in missing.items() if pc.any(pc.match_substring_regex(cells, form)).as_py()
                }
                missing = {text: form for text, form in missing.items() if text not in found}
                if not missing:
                    return True
    return False


def _text_contains(lake: Lake, path: str, texts: Collection[str]) -> bool:
    patterns = {text: re.compile(_word(text).pattern.encode()) for text in texts}
    longest = 64 + max(2 * len(text.encode()) for text in texts)
    tail = b""
    with lake.fs.open(lake.url(path), "rb") as stream:
        while chunk := stream.read(_BYTES_PER_READ):
            if _UNREADABLE.search(tail + chunk):
                return True
            patterns = {text: one for text, one in patterns.items() if not one.search(tail + chunk)}
            if not patterns:
                return True
            tail = (tail + chunk)[-longest:]
    return False


def _word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){_spellings(text)}(?!\w)")


def _spellings(text: str) -> str:
    """Return the expression of a text; that of a whole number has leading zeros and marks between thousands.

    Examples
    --------
    >>> [bool(re.fullmatch(_spellings("-4711"), text)) for text in ("-4711", "-004711", "-4,711", "-14711")]
    [True, True, True, False]
    """
    if not re.fullmatch(r"-?(0|[1-9][0-9]*)", text):
        return re.escape(text)
    grouped = re.sub(r"\B(?=(...)+$)", "[,.'_ ]?", text.removeprefix("-"))
    return f"{'-' if text.startswith('-') else ''}0*{grouped}"


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

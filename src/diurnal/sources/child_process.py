"""Child process that reads formats whose libraries hold a whole table in memory or may abort.

With two cells at opposite corners of a sheet, the library of spreadsheets allocates half a terabyte and aborts. A
damaged Arrow file may crash its reader. The child process (``child_process_script.py``) has a limited address space and
writes rows to its standard output, as CSV or as an Arrow stream. If it fails, the file is rejected.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.sources.decompression import CHUNK, SizeLimitedReader, file_error, open_raw_file

if TYPE_CHECKING:
    from diurnal.sources.files import Files

MAX_MEMORY = 4 * 2**30

_READER = Path(__file__).parent / "child_process_script.py"


@contextmanager
def read_in_child_process(
    fs: Any, path: str, files: Files, arguments: Mapping[str, Any]
) -> Iterator[SizeLimitedReader]:
    """Open the output of a child process that reads a file.

    Parameters
    ----------
    fs, path
        The file.
    files : Files
        The declaration.
    arguments : Mapping of str to Any
        Arguments of the child process, in JSON's types.
    """
    with _local_copy(fs, path, files) as local, tempfile.TemporaryFile() as stderr:
        argument_json = json.dumps({**arguments, "path": local, "most_memory": MAX_MEMORY})
        environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "RUST_BACKTRACE": "0"}
        with subprocess.Popen(  # noqa: S603 - a script of this package
            [sys.executable, "-P", "-W", "ignore", str(_READER), argument_json],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
        ) as process:
            try:
                stream = SizeLimitedReader(_ChildOutput(process, stderr), files.max_bytes)
                yield stream
                while stream.read(CHUNK):  # an Arrow stream may end before the child process fails
                    pass
            finally:
                process.kill()


class _ChildOutput(io.RawIOBase):
    """Output of a child process; at its end, the exit status is checked."""

    def __init__(self, process: subprocess.Popen[bytes], stderr: Any) -> None:
        self._process, self._stderr = process, stderr

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes."""
        data = self._process.stdout.read(size) if self._process.stdout else b""
        if not data and self._process.wait() != 0:
            self._refuse()
        return data

    def _refuse(self) -> None:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines() or [""]
        try:
            found = json.loads(lines[-1])
            problem = {name: str(found[name]) for name in ("code", "message", "hint")}
        except (ValueError, KeyError, TypeError):
            status = self._process.returncode
            if status < 0 or "memory" in lines[0].lower():
                message = f"cannot be read within {MAX_MEMORY >> 30} GiB of memory, or is damaged ({lines[0][:200]})"
                raise file_error("damaged-file", message, "export it as CSV or Parquet") from None
            raise file_error("damaged-file", f"cannot be read: {lines[-1][:300]}", "write the file again") from None
        raise file_error(problem["code"], problem["message"], problem["hint"])


@contextmanager
def _local_copy(fs: Any, path: str, files: Files) -> Iterator[str]:
    """Return the path of a local file; a remote file is copied."""
    if "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol):
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="diurnal-", suffix=Path(path).suffix) as copy:
        with open_raw_file(fs, path) as stream:
            capped = SizeLimitedReader(stream, files.max_bytes)
            while chunk := capped.read(CHUNK):
                copy.write(chunk)
        copy.flush()
        yield copy.name

"""A project whose champion is served, and the server as a process."""

import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np


class Clinic:
    def __init__(self, project, stores, rows, probabilities):
        self.project, self.stores, self.rows, self.probabilities = project, stores, rows, probabilities
        self.body = rows.to_json(orient="records")
        self.versions = {row["digest"]: row["version"] for row in stores.warehouse.versions("clinic")}

    def set_champion(self, version):
        champion = self.stores.warehouse.champion("clinic")
        if champion.version != version:
            self.stores.warehouse.set_champion("clinic", version, requested_by="test", reason="test")

    def is_right(self, answer):
        if self.versions[answer["digest"]] != answer["version"]:
            return False
        expected = self.probabilities[answer["version"]]
        return np.allclose(answer["probabilities"], expected, rtol=0, atol=1e-12)


@contextmanager
def serving(clinic, *words, environment=None):
    """Start a server; give its address, its process and what it has logged."""
    process = subprocess.Popen(
        [sys.executable, "-m", "diurnal", "serve", "--port", "0", "--poll", "0.5", *words],
        cwd=clinic.project.folder,
        env={**clinic.project.environment, **(environment or {})},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    lines, reader = [], threading.Thread()
    try:
        for line in process.stderr:
            lines.append(line)
            if match := re.search(r"Description: (http://\S+)/openapi.json", line):
                break
        else:
            raise AssertionError("".join(lines))
        reader = threading.Thread(target=lambda: lines.extend(process.stderr))
        reader.start()
        yield match[1], process, lines
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            if reader.ident:
                reader.join()
            process.stderr.close()


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def children_of(pid):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]

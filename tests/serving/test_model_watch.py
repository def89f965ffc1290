"""The thread that follows the versions in use: what it serves when a version, a model or the warehouse is missing."""

import time

import pytest

from diurnal.errors import ConfigurationError, InvalidModelError, NotFoundError, TransientError
from diurnal.serving.model_cache import ModelCache
from diurnal.serving.model_watch import ModelWatch
from diurnal.serving.served_models import ServedModels
from diurnal.storage.models import Models


class Model:
    path = "frame"

    def __init__(self, version, digest):
        self.version, self.digest = version, digest


class Source:
    """Versions in use, and what fails."""

    def __init__(self, **versions):
        self.versions, self.errors, self.copies, self.n_loads = versions, {}, {}, 0
        self.away = None

    @property
    def warehouse(self):
        self._check()
        raise AssertionError("it is asked in these tests by other methods only")

    def champions(self):
        self._check()
        return sorted(self.versions)

    def row(self, reference):
        self._check()
        if reference.partition("@")[0] not in self.versions:
            raise NotFoundError(f"{reference} has no model version")
        version = self.versions[reference.partition("@")[0]]
        return {"version": version, "digest": f"digest {version}"}

    def load(self, reference, row):
        self.n_loads += 1
        if error := self.errors.get(row["version"]):
            raise error
        self.copies[reference] = Model(row["version"], row["digest"])
        return self.copies[reference]

    def load_copy(self, reference, *, other_than=None):
        copy = self.copies.get(reference)
        return None if copy is None or copy.digest == other_than else copy

    def copied_champions(self):
        return [name for name in self.copies if "@" not in name]

    def _check(self):
        if self.away:
            raise self.away


def watch(source, *references, served=None, interval=0.01):
    served = ServedModels() if served is None else served
    return ModelWatch(source, served, references, interval=interval), served


def versions(served):
    return {name: state.model and state.model.version for name, state in served.states().items()}


def test_an_experiment_that_gets_its_first_champion_is_served():
    source = Source()
    followed, served = watch(source)
    followed.load_all()
    assert (versions(served), served.is_ready) == ({}, False)
    source.versions["clinic"] = 1
    followed.check()
    assert (versions(served), served.is_ready) == ({"clinic": 1}, True)


def test_an_experiment_that_is_removed_does_not_stop_the_others():
    for references in [(), ("first", "second")]:
        source = Source(first=1, second=1)
        followed, served = watch(source, *references)
        followed.load_all()
        del source.versions["first"]
        source.versions["second"] = 2
        followed.check()
        assert versions(served) == {"first": 1, "second": 2}
        assert "no " in served.state("first").problem
        assert served.state("second").problem is None


def test_a_new_experiment_that_cannot_be_loaded_leaves_the_server_ready():
    source = Source(first=1)
    followed, served = watch(source)
    followed.load_all()
    source.versions["second"] = 7
    source.errors[7] = InvalidModelError("its digest differs")
    followed.check()
    assert served.is_ready
    assert versions(served) == {"first": 1, "second": None}
    assert "version 7 cannot be loaded: its digest differs" in served.state("second").problem


def test_a_version_that_cannot_be_loaded_is_tried_again_after_longer_and_longer_pauses():
    source = Source(clinic=1)
    followed, served = watch(source, interval=0.05)
    followed.load_all()
    source.versions["clinic"], source.errors[2] = 2, TransientError("the models are away")
    deadline, source.n_loads = time.monotonic() + 0.6, 0
    while time.monotonic() < deadline:
        followed.check()
    assert 2 <= source.n_loads <= 5  # at 0, 0.05, 0.15, 0.35 and 0.75 seconds
    assert (versions(served), "models are away" in served.state("clinic").problem) == ({"clinic": 1}, True)
    source.versions["clinic"] = 3  # another version is tried at once
    followed.check()
    assert (versions(served), served.state("clinic").problem) == ({"clinic": 3}, None)


def test_a_start_while_the_version_in_use_cannot_be_loaded_serves_the_last_one():
    source = Source(clinic=2)
    source.copies["clinic"], source.errors[2] = Model(1, "digest 1"), InvalidModelError("its digest differs")
    followed, served = watch(source, "clinic")
    followed.load_all()
    assert versions(served) == {"clinic": 1}
    assert "version 2 cannot be loaded" in served.state("clinic").problem
    del source.copies["clinic"]
    with pytest.raises(ConfigurationError, match="clinic cannot be served: version 2"):
        watch(source, "clinic")[0].load_all()


def test_a_process_that_starts_late_does_not_serve_an_older_version_while_the_warehouse_is_away():
    source = Source(clinic=1)
    served = watch(source)[1]
    served.swap("clinic", Model(1, "digest 1"))  # inherited from the process that started it
    source.copies = {"clinic": Model(2, "digest 2"), "other@3": Model(3, "digest 3")}
    source.away = TransientError("no route")
    followed, _ = watch(source, served=served, interval=0.01)
    followed.start()
    try:
        assert followed.checked.wait(5)
        assert versions(served) == {"clinic": 2}
        assert served.state("clinic").problem == "the warehouse is away: no route"
    finally:
        followed.stop()
        followed.join(5)


def test_an_unexpected_error_does_not_end_the_thread():
    source = Source(clinic=1)
    followed, served = watch(source)
    followed.load_all()
    source.away = KeyError("digest")
    followed.start()
    try:
        deadline = time.monotonic() + 5
        while served.state("clinic").problem is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert "cannot be followed" in served.state("clinic").problem
        assert followed.is_alive()
    finally:
        followed.stop()
        followed.join(5)


def row_of(version, path):
    known = {"experiment": "clinic", "run_id": "r", "signature": {}, "library_versions": {}, "trusted": []}
    return known | {"version": version, "path": path, "digest": f"{version}"}


def test_copies_of_replaced_versions_are_removed_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr("diurnal.serving.model_cache._KEPT_SECONDS", 0.2)
    models, cache = Models(str(tmp_path / "models")), ModelCache(str(tmp_path / "cache"))
    for version in (1, 2, 3):
        folder = tmp_path / "cache" / "clinic" / str(version)
        folder.mkdir(parents=True)
        (folder / "model.skops").write_bytes(b"%d" % version)
        monkeypatch.setattr(cache.models, "digest_of", lambda path: path.rpartition("/")[2])
        if version == 3:
            time.sleep(0.3)
        cache.add("clinic", row_of(version, f"clinic/{version}"), models)
    assert [path.name for path in (tmp_path / "cache" / "clinic").iterdir()] == ["3"]
    assert cache.row("clinic")["version"] == 3
    (tmp_path / "cache" / "references" / "clinic.json").write_bytes(b"")
    assert cache.row("clinic") is None

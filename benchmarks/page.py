"""How fast the page is for a large deployment: 200 experiments, 100,000 runs, 3 years.

A throwaway warehouse is filled by SQL, with rows as real runs write them. The page is a process of its own, asked over
HTTP. For each view: the median and the 99th percentile of the response, the number of queries, and the bytes that a
browser loads, with styles and scripts.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urljoin

import psycopg

from diurnal.runtime.postgres import EmbeddedServer
from diurnal.storage.warehouse import Warehouse

GROUPS = (("daily", 70, 1, 1095), ("other_day", 30, 4, 274), ("weekly", 100, 7, 157))  # name, number, days, intervals
FEATURES = [f"sensor_{i:02d}" for i in range(20)]
DIGEST = "encode(sha256(convert_to({}, 'UTF8')), 'hex')"

EXPERIMENTS = """
CREATE TABLE bench_experiments AS
SELECT kind || '_' || lpad(i::text, 3, '0') AS experiment, days, n, i
FROM unnest(%(kinds)s::text[], %(numbers)s::int[], %(days)s::int[], %(intervals)s::int[]) AS g (kind, number, days, n),
     generate_series(1, number) AS i
"""
INTERVALS = """
CREATE TABLE bench_intervals AS
SELECT experiment, i, k, n, days,
       date_trunc('day', now(), 'UTC') - make_interval(days => days * (n - k + 1)) AS data_interval_start,
       date_trunc('day', now(), 'UTC') - make_interval(days => days * (n - k)) AS data_interval_end,
       CASE WHEN (k * 7919 + i * 104729) % 97 = 0 THEN 'rejected'
            WHEN (k * 7907 + i * 104723) % 151 = 0 THEN 'failed'
            WHEN (k * 7901 + i * 104717) % 211 = 0 THEN 'missing'
            ELSE 'done' END AS state
FROM bench_experiments, generate_series(1, n) AS k
"""
HEADS = f"""
INSERT INTO heads (experiment, data_interval_start, data_interval_end, epoch, claimed_by, claimed_at, batch_digest)
SELECT experiment, data_interval_start, data_interval_end, 1, 'airflow', data_interval_end + interval '10 min',
       CASE WHEN state <> 'rejected' THEN {DIGEST.format("experiment || k")} END
FROM bench_intervals WHERE state <> 'missing'
"""
PACKAGES = f"""
INSERT INTO packages (experiment, data_interval_start, role, digest, path, n_rows, created_at)
SELECT experiment, data_interval_start, role, {DIGEST.format("experiment || k || role")},
       experiment || '/' || role || '/' || k || '.parquet', 2000 + (k * 37 + i) % 400, data_interval_end
FROM bench_intervals, unnest(ARRAY['batch', 'train', 'test']) AS role WHERE state NOT IN ('missing', 'rejected')
"""
FAILURES = """
INSERT INTO failures (experiment, data_interval_start, data_interval_end, step, error, quarantine, failed_at)
SELECT experiment, data_interval_start, data_interval_end, CASE state WHEN 'failed' THEN 'tune' ELSE 'fetch' END,
       CASE state WHEN 'failed' THEN %(failed)s::jsonb ELSE %(rejected)s::jsonb END,
       CASE state WHEN 'rejected' THEN 'file:///lake/' || experiment || '/quarantine/' || k END,
       data_interval_end + interval '11 min'
FROM bench_intervals WHERE state IN ('rejected', 'failed')
"""
RUNS = f"""
INSERT INTO experiments (
    run_id, experiment, data_interval_start, data_interval_end, epoch, repeat, recorded_at, batch_digest,
    window_digest, code_digest, packages, library_versions, target, test_size, "window", n_train, n_test, cv_folds,
    n_candidates, scoring, best_params, cv_score_mean, cv_score_std, test_score, test_scores, model_version,
    champion_version, champion_score, comparison, candidates, durations, warnings, decided_at, promoted, reason, code,
    environment, twin, contract_version, drift)
SELECT format('%%s-%%s-%%s', experiment, to_char(data_interval_start AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISS"Z"'),
              left({DIGEST.format("experiment || k")}, 12)),
       experiment, data_interval_start, data_interval_end, 1, 0, data_interval_end + interval '15 min',
       {DIGEST.format("experiment || k")}, {DIGEST.format("'window' || experiment || k")},
       {DIGEST.format("'code' || experiment || k / 200")}, %(packages)s::jsonb, %(libraries)s::jsonb, 'outcome', 0.3,
       '7d', 9800, 4200, 5, 24, 'roc_auc',
       jsonb_build_object('tree__max_depth', 2 + (k * 31 + i) %% 9, 'tree__min_samples_leaf', 10 * (1 + (k + i) %% 7)),
       score - 0.002, 0.004, score, jsonb_build_object('roc_auc', score), version, nullif(version - 1, 0),
       CASE WHEN version > 1 THEN score - 0.004 + 0.006 * sin(k * 1.7 + i) END,
       CASE WHEN version > 1 THEN %(comparison)s::jsonb END, experiment || '/candidates/' || k || '.parquet',
       jsonb_build_object('fetch', 4 + k %% 3, 'split', 0.4, 'tune', 40 + (k * 13 + i) %% 30, 'evaluate', 3.1),
       CASE WHEN (k + i) %% 23 = 0 THEN '["the share of missing values of sensor_03 has doubled"]' ELSE '[]' END::jsonb,
       data_interval_end + interval '16 min', (k + i) %% 3 <> 0,
       CASE WHEN (k + i) %% 3 <> 0 THEN 'not worse by more than chance: twin ' ELSE 'worse: twin ' END
           || round(score::numeric, 4) || ', ' || %(reason)s,
       experiment || '/code/' || k / 200 || '.json', %(environment)s::jsonb, %(twin)s::jsonb, 1, %(drift)s::jsonb
FROM (SELECT *, 0.86 + 0.03 * sin(k / 40.0 + i) + 0.01 * sin(k * 2.3 + i * 5) AS score,
             row_number() OVER (PARTITION BY experiment ORDER BY k) AS version
      FROM bench_intervals WHERE state = 'done') AS scored
"""
VERSIONS = """
INSERT INTO model_versions (experiment, version, run_id, data_interval_start, data_interval_end, path, digest,
                            signature, library_versions, created_at)
SELECT experiment, model_version, run_id,
       data_interval_start, data_interval_end, experiment || '/' || run_id, batch_digest, %(signature)s::jsonb,
       library_versions, recorded_at
FROM experiments
"""
PROMOTIONS = """
INSERT INTO promotions (experiment, seq, version, kind, promoted_at, promoted_by, reason, evidence)
SELECT e.experiment, row_number() OVER (PARTITION BY e.experiment ORDER BY e.data_interval_start), e.model_version,
       'promote', e.decided_at, 'airflow', e.reason, jsonb_build_object('comparison', e.comparison)
FROM experiments e WHERE e.promoted
"""
CONTRACTS = """
INSERT INTO contracts (experiment, columns, batch_digest, accepted_at, version, accepted_by)
SELECT experiment, %(contract)s::jsonb, '', min(data_interval_end), 1, 'airflow' FROM bench_intervals GROUP BY 1
"""


def json_values() -> dict[str, str]:
    """Return the texts of JSON columns, of the size that runs write."""
    error = {
        "type": "BatchRejectedError",
        "message": "the batch is rejected: [missing-column] sensor_03 is missing",
        "hint": "if the change is intended, accept it: diurnal contract NAME accept",
        "location": None,
    }
    package = {
        "path": "x/batches/20261122T000000Z/" + 64 * "d" + ".parquet",
        "digest": 64 * "d",
        "n_rows": 2000,
        "data_interval_start": "2026-11-22T00:00:00+00:00",
        "data_interval_end": "2026-11-23T00:00:00+00:00",
    }
    column = {"role": "feature", "kind": "number", "measure": "wasserstein", "threshold": 0.1, "drifted": False}
    drift = [{"column": name, "effect": round(0.15 - 0.007 * i, 4), **column} for i, name in enumerate(FEATURES)]
    drift[0]["drifted"] = True
    columns = [
        {"kind": "float", "name": name, "nullable": True, "categories": None, "null_share": 0.01}
        for name in [*FEATURES, "outcome"]
    ]
    values = {
        "failed": {**error, "type": "TransientError", "message": "this machine is out of memory"},
        "rejected": error,
        "packages": [package] * 7,
        "libraries": {"numpy": "2.4.6", "scipy": "1.17.1", "pandas": "3.1.1", "scikit-learn": "1.9.1"},
        "comparison": {
            "test": "DeLong",
            "difference": 0.0018,
            "low": -0.007,
            "high": 0.0106,
            "twin_score": 0.8534,
            "champion_score": 0.8516,
            "p_worse": 0.66,
            "n_compared": 603,
        },
        "environment": {"cpu": "Xeon", "python": "CPython 3.11.7", "machine": "x86_64", "threads": 1},
        "twin": {"path": "x/twins/" + 64 * "e" + ".skops", "digest": 64 * "e"},
        "drift": {
            "reference": {"version": 3, "run_id": "x", "n_rows": 14000},
            "columns": drift,
            "n_columns": len(FEATURES),
            "n_drifted": 1,
        },
        "signature": {"columns": columns, "golden": {"rows": [[0.5] * 20] * 5}},
        "contract": {
            "key": ["id"],
            "drop": [],
            "task": "classification",
            "target": "outcome",
            "columns": columns,
            "classes": ["fails", "runs"],
            "duplicates": "drop",
        },
    }
    texts = {name: json.dumps(value) for name, value in values.items()}
    reason = "champion (version 10) 0.8516, difference +0.001799; DeLong on 603 samples new to both, p = 0.66"
    return texts | {"reason": reason}


def fill(url: str, groups: tuple[tuple[str, int, int, int], ...] = GROUPS) -> dict[str, int]:
    """Fill a migrated warehouse; return the number of rows of its largest tables."""
    kinds, numbers, days, intervals = (list(column) for column in zip(*groups, strict=True))
    values = {"kinds": kinds, "numbers": numbers, "days": days, "intervals": intervals, **json_values()}
    statements = (EXPERIMENTS, INTERVALS, HEADS, PACKAGES, FAILURES, RUNS, VERSIONS, PROMOTIONS, CONTRACTS)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # runs and versions refer to each other
        for statement in statements:
            used = {name: values[name] for name in re.findall(r"%\((\w+)\)s", statement)}
            connection.execute(statement, used or None)
        connection.execute("DROP TABLE bench_intervals, bench_experiments")
        connection.execute("VACUUM ANALYZE")
        tables = ("heads", "experiments", "model_versions", "promotions", "failures")
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}


@contextmanager
def served(project: Path, url: str):
    """Serve the page in a process of its own; give an opener that is logged in, and its address."""
    env = {**os.environ, "DIURNAL_WAREHOUSE": url, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "diurnal", "page", "--port", "0"]
    process = subprocess.Popen(command, cwd=project, env=env, stdout=subprocess.PIPE, text=True)
    try:
        link = next(line.strip() for line in process.stdout if "http://" in line)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        opener.addheaders = [("Accept-Encoding", "gzip")]
        for _ in range(100):
            try:
                opener.open(link, timeout=30).read()
                break
            except OSError:
                time.sleep(0.1)
        yield opener, urljoin(link, "/")
    finally:
        process.terminate()
        process.wait(timeout=20)


def count_queries(project: Path, url: str, path: str) -> int:
    """Return how many statements a view sends; the application runs in this process for it."""
    from fastapi.testclient import TestClient
    from sqlalchemy import event

    from diurnal.page.app import create_app
    from diurnal.page.page_stores import PageStores
    from diurnal.page.viewer import Viewer
    from diurnal.runtime import Settings

    stores = PageStores(lambda: Settings.load(project, {"DIURNAL_WAREHOUSE": url}))
    client = TestClient(create_app(stores, lambda: Viewer("bench", "bench")), base_url="http://localhost")
    statements = []
    engine = stores.reader().warehouse._engine
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    client.get(f"/{path}").raise_for_status()
    stores.close()
    return len(statements)


def total_bytes(opener, address: str) -> tuple[int, int]:
    """Return the bytes of a page as transferred, alone and with its styles, scripts and Vega."""
    body = opener.open(address, timeout=60).read()
    text = decompressed(body).decode()
    assets = {urljoin(address, path) for path in re.findall(r'(?:href|src|data-vega)="([^"]*/static/[^"]+)"', text)}
    charts = {urljoin(address, path) for path in re.findall(r'data-chart="([^"]+)"', text)}
    if not charts:
        assets = {asset for asset in assets if "vega.js" not in asset}
    return len(body), len(body) + sum(len(opener.open(asset, timeout=60).read()) for asset in assets | charts)


def decompressed(body: bytes) -> bytes:
    import gzip

    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


def measure(opener, address: str, repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        opener.open(address, timeout=60).read()
        times.append(1000 * (time.perf_counter() - started))
    return sorted(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--keep", type=Path, help="Keep the project here, and use it again.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="diurnal-bench-page-") as scratch:
        project = arguments.keep or Path(scratch) / "project"
        is_new = not (project / "diurnal.toml").exists()
        (project / "experiments").mkdir(parents=True, exist_ok=True)
        (project / "diurnal.toml").write_text("[diurnal]\n")
        Path(scratch).chmod(0o711)  # as root, the server's own account passes through it
        with EmbeddedServer(project / "data" / "warehouse") as server:
            url = server.url("warehouse")
            if is_new:
                with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
                    connection.execute("ALTER SYSTEM SET fsync = off")
                    connection.execute("SELECT pg_reload_conf()")
                Warehouse(url).close()
                started = time.perf_counter()
                n_rows = fill(url)
                print(f"filled in {time.perf_counter() - started:.0f} s: {n_rows}")
            report(project, url, arguments.repeats)


def report(project: Path, url: str, repeats: int) -> None:
    views = {
        "all experiments": "",
        "all experiments, sorted": "?sort=-last",
        "experiment, daily": "experiments/daily_001",
        "experiment, weekly": "experiments/weekly_001",
    }
    print(f"{'view':<26}{'median ms':>10}{'p99 ms':>9}{'queries':>9}{'KB':>7}{'KB with scripts':>17}")
    with served(project, url) as (opener, root):
        for name, path in views.items():
            address = urljoin(root, path)
            opener.open(address, timeout=60).read()
            times = measure(opener, address, repeats)
            p99 = times[min(len(times) - 1, round(0.99 * len(times)))]
            alone, all_ = total_bytes(opener, address)
            queries = count_queries(project, url, path)
            median = statistics.median(times)
            print(f"{name:<26}{median:>10.0f}{p99:>9.0f}{queries:>9}{alone / 1e3:>7.0f}{all_ / 1e3:>17.0f}")


if __name__ == "__main__":
    main()

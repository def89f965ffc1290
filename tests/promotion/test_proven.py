"""Challengers that are bet on, on a real warehouse."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import psycopg
import pytest

from diurnal.cli import run_results
from diurnal.pipeline.serialization import result_from_json, to_json
from diurnal.promotion.challenges import BUDGET, next_bet
from diurnal.types import Decision, Match, ModelVersion, Standing
from projects import day, patients

FIRST = date(2026, 11, 1)


def on(n):
    return str(FIRST + timedelta(days=n))


def blurred(text, n=240):
    """Give patients whose features say little of them."""
    rows = patients(text, n)
    for name in ("age", "pressure"):
        rows[name] = rows[name].sample(frac=1, random_state=0).to_numpy()
    return rows


@pytest.fixture
def clinic(project):
    """A project in which every version after the first is much better."""
    project.declare("drop='ward', promotion='proven', test_size=0.5")
    project.bring(on(0), blurred(on(0)))
    for n in range(1, 13):
        project.bring(on(n))
    return project


def carry_out(project, stores, days, **options):
    return [project.run(on(n), stores, **options) for n in days]


def test_a_better_challenger_wins_after_some_batches(clinic, stores):
    done = carry_out(clinic, stores, range(12))
    assert done[0].promoted, "the first version is the champion at once"
    assert done[1].reason.startswith("no bet: there is no challenger to the champion (version 1) yet")
    bets = [bet for bet in stores.warehouse.bets("clinic")[::-1] if bet["challenge"] == 1]
    assert len(bets) == 9
    assert [bet["challenger"] for bet in bets] == [2] * len(bets), "one at a time, though each day has a new version"
    assert [bet["n_batches"] for bet in bets] == list(range(1, len(bets) + 1))
    assert [bet["ended"] for bet in bets] == [None] * (len(bets) - 1) + ["won"]
    assert bets[-1]["wealth"] >= 1 / bets[-1]["share"] == 2 / BUDGET
    won = next(one for one in done if one.run["challenge"] and one.run["challenge"].get("bet", {}).get("ended"))
    assert won.changes_champion
    assert not won.promoted, "its own version is another one"
    newest = stores.warehouse.promotions("clinic")[0]
    assert (newest["version"], newest["seq"]) == (2, 2)
    assert newest["reason"].startswith("version 2 is proven better than the champion (version 1): wealth ")
    assert newest["evidence"]["bet"]["threshold"] == 2 / BUDGET
    assert newest["evidence"]["match"]["challenger"] == 2
    assert won.run["challenge"]["match"]["challenger_score"] > won.run["challenge"]["match"]["champion_score"]
    assert "wealth" in run_results._challenge_fields(won.run)
    table = run_results.with_wealth(run_results.read_run_rows(stores.warehouse, "clinic"))
    assert table[-3]["challenge"].startswith("v2: 1.")
    assert done[-1].reason.startswith("version 11 challenges the champion (version 2): wealth"), (
        "the newest version of then"
    )


def test_an_interval_is_bet_on_once(clinic, stores):
    carry_out(clinic, stores, range(4))
    before = stores.warehouse.bets("clinic")
    assert len(before) == 2
    again = clinic.run(on(3), stores)
    assert again.already
    forced = clinic.run(on(3), stores, force=True)
    assert forced.reason.startswith("no bet: the data interval is not after 2026-11-04")
    clinic.bring(on(3), patients(on(3), 200))
    corrected = clinic.run(on(3), stores)
    assert "no bet" in corrected.reason
    assert stores.warehouse.bets("clinic") == before


def test_an_old_interval_that_runs_late_is_not_bet_on(clinic, stores):
    carry_out(clinic, stores, [0, 1, 2, 4])
    late = clinic.run(on(3), stores)
    assert late.reason.startswith("no bet: the data interval is not after 2026-11-05")
    assert [bet["n_batches"] for bet in stores.warehouse.bets("clinic")] == [2, 1]


@pytest.mark.parametrize("fault", ["promote:before", "promote:after", "record_run:after"])
def test_a_run_that_is_killed_and_repeated_bets_once(clinic, stores, fault):
    carry_out(clinic, stores, range(2))
    killed = clinic.command("run", "clinic", "--date", on(2), fault=f"kill@warehouse.{fault}")
    assert killed.returncode
    assert clinic.command("run", "clinic", "--date", on(2)).returncode == 0
    assert [bet["n_batches"] for bet in stores.warehouse.bets("clinic")] == [1]


def test_runs_at_once_bet_once_each(clinic, stores):
    carry_out(clinic, stores, range(2))
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(clinic.command, "run", "clinic", "--date", on(n)) for n in (2, 2, 3)]
        assert all(call.result().returncode == 0 for call in calls)
    bets = stores.warehouse.bets("clinic")
    assert len({bet["data_interval_start"] for bet in bets}) == len(bets) in (1, 2)
    assert [bet["n_batches"] for bet in bets] == list(range(len(bets), 0, -1))


def test_the_table_refuses_a_second_bet_and_a_change(clinic, stores, warehouse_url):
    carry_out(clinic, stores, range(3))
    copied = "INSERT INTO bets SELECT * FROM bets"
    with psycopg.connect(warehouse_url) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute(copied)
    with psycopg.connect(warehouse_url) as connection, pytest.raises(psycopg.errors.RestrictViolation):
        connection.execute("UPDATE bets SET wealth = 50")


def test_a_promotion_by_hand_ends_the_challenge(clinic, stores):
    carry_out(clinic, stores, range(5))
    stores.warehouse.set_champion("clinic", 4, requested_by="ada", reason="the audit asked for it")
    assert stores.warehouse.standing("clinic").open_bet is None
    assert stores.warehouse.challenger("clinic", day(on(5))).version == 5
    carry_out(clinic, stores, [5])
    bet = stores.warehouse.bets("clinic")[0]
    assert (bet["challenge"], bet["champion"], bet["challenger"], bet["n_batches"]) == (2, 4, 5, 1)
    stores.warehouse.set_champion("clinic", 1, requested_by="ada", reason="it was worse", action="rollback")
    carry_out(clinic, stores, [6])
    bet = stores.warehouse.bets("clinic")[0]
    assert (bet["challenge"], bet["champion"], bet["challenger"]) == (3, 1, 6), "what has served does not challenge"


def test_a_worse_challenger_loses_and_the_newest_version_follows(project, stores):
    project.declare("drop='ward', promotion='proven', test_size=0.5")
    for n in range(8):
        project.bring(on(n), blurred(on(n)) if n == 1 else patients(on(n)))
    carry_out(project, stores, range(8))
    bets = stores.warehouse.bets("clinic")[::-1]
    ended = next(bet for bet in bets if bet["ended"])
    assert (ended["challenger"], ended["ended"]) == (2, "lost")
    assert ended["wealth"] < 0.25
    following = bets[ended["n_batches"]]
    assert following["challenger"] == ended["n_batches"] + 2, "the newest version of then"
    assert following["share"] == pytest.approx((1 + ended["wealth"]) * BUDGET / 4)


def test_a_challenger_that_cannot_be_scored_ends_its_challenge(clinic, stores):
    carry_out(clinic, stores, range(3))
    version = stores.warehouse.version("clinic", 2)
    stores.models.delete(version["path"])
    lost = clinic.run(on(3), stores)
    assert "version 2 cannot challenge the champion (version 1) any more" in lost.reason
    assert stores.warehouse.bets("clinic")[0]["ended"] == "unusable"
    assert stores.warehouse.challenger("clinic", day(on(4))).version == 4


def test_a_champion_that_cannot_serve_is_replaced_at_once(clinic, stores):
    carry_out(clinic, stores, range(3))
    stores.models.delete(stores.warehouse.version("clinic", 1)["path"])
    assert clinic.run(on(3), stores).promoted


def test_a_score_that_is_undefined_is_no_bet(clinic, stores):
    place = clinic.folder / "experiments" / "clinic.py"
    place.write_text(place.read_text().replace("cv=3)", "cv=3, scoring='roc_auc')"))
    clinic.declare("drop='ward', promotion='proven', test_size=0.5, window=2")
    place.write_text(place.read_text().replace("cv=3)", "cv=3, scoring='roc_auc')"))
    rows = patients(on(2))
    clinic.bring(on(2), rows[rows["ill"] == "no"])
    assert carry_out(clinic, stores, range(3))[2].reason.startswith("no bet: ")
    assert stores.warehouse.bets("clinic") == []


def test_a_decision_travels():
    def step() -> Decision: ...

    bet = next_bet(Standing(ModelVersion("x", 1, "r", day(on(0)), "p", "d"), 1), Match(2, 1, p_worse=0.7), day(on(1)))
    decision = Decision(False, "so", bet)
    assert result_from_json(step, json.loads(json.dumps(to_json(decision)))) == decision

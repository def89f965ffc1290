"""When the next result of an experiment is expected."""

from datetime import UTC, datetime, timedelta

import pytest

from diurnal.page.interval_states import next_result

END = datetime(2026, 11, 27, tzinfo=UTC)  # a Friday
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
RHYTHM = {"data_interval_end": END, "period": DAY, "n_recent": 8, "delay": HOUR, "duration": timedelta(minutes=30)}
UNKNOWN = dict.fromkeys(("schedule", "timezone", "start_date", "label_delay", "description", "promotion"))


def declared(schedule, *, timezone="UTC", label_delay=0.0):
    columns = {"schedule": schedule, "timezone": timezone, "start_date": None, "label_delay": label_delay}
    return {**RHYTHM, **columns, "description": "", "promotion": "guarded"}


@pytest.mark.parametrize(
    ("summary", "moment"),
    [
        ({**RHYTHM, **UNKNOWN}, END + DAY + 1.5 * HOUR),
        (declared("@daily"), END + DAY + 1.5 * HOUR),
        (declared("@daily", label_delay=7 * 86400.0), END + 8 * DAY + 0.5 * HOUR),
        (declared("0 0 * * mon-fri"), END + 3 * DAY + 1.5 * HOUR),
        (declared(3600.0), END + HOUR + 0.5 * HOUR),
    ],
    ids=["rhythm", "daily", "labels after a week", "weekdays", "hourly"],
)
def test_the_next_result_is_expected_by_the_declared_schedule(summary, moment):
    expected = next_result(summary, END)
    assert expected.moment == moment
    assert not expected.is_overdue
    period = timedelta(hours=1) if summary["schedule"] == 3600.0 else DAY
    assert next_result(summary, moment + max(HOUR, period) + DAY).is_overdue


def test_without_a_schedule_or_a_rhythm_nothing_is_expected():
    assert next_result(declared(None), END) is None
    assert next_result({**RHYTHM, **UNKNOWN, "n_recent": 2}, END) is None
    assert next_result(declared("@daily"), END + 40 * DAY) is None, "it may be retired"

"""Dates as feeds, reference managers and people write them."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.sources.text.dates import DateRange, parse_dates


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-03-02", "2026-03-02"),
        ("20260302", "2026-03-02"),
        ("20260302T101500Z", "2026-03-02"),
        ("2026-03-02T10:00:00.123+01:00", "2026-03-02"),
        ("2011-11-04 00:05:23.283", "2011-11-04"),
        ("Mon, 02 Mar 2026 08:00:00 GMT", "2026-03-02"),
        ("Mon, 02 Mar 26 08:00 EST", "2026-03-02"),
        ("Mon, 02 Mar 2026 24:00:00 GMT", "2026-03-02"),
        ("Mon, 02 Mar 2026 08:00:00 Europe/Berlin", "2026-03-02"),
        ("Sunday, 06-Nov-94 08:49:37 GMT", "1994-11-06"),
        ("Thu Sep 25 10:36:28 2003", "2003-09-25"),
        ("Aug 15, 2019", "2019-08-15"),
        ("Tue, 18 Sept 2018 15:53:56 +0300", "2018-09-18"),
        ("Fri, Oct 7 2022 10:15:00 -0400", "2022-10-07"),
        ("10th of May, 2019", "2019-05-10"),
        ("2016 Oct 3", "2016-10-03"),
        ("2016/10/19", "2016-10-19"),
        ("2017/06/12/Spring", "2017-06-12"),
        ("2019 Sep 12;5(3):12-20", "2019-09-12"),
        ("Fr, 05 Okt 2018 08:00:00 +0200", "2018-10-05"),
        ("Do, 3 Oktober 2022 10:00:00 +0200", "2022-10-03"),
        ("15. März 2021", "2021-03-15"),
        ("Mo., 3. Aug. 2020", "2020-08-03"),
        ("1. Januar 2020 um 10:00 Uhr", "2020-01-01"),
        ("03.04.2020", "2020-04-03"),
        ("1er août 2019", "2019-08-01"),
        ("Mar, 03 sept. 2019", "2019-09-03"),
        ("mardi 3 mars 2020", "2020-03-03"),
        ("3 de septiembre de 2020", "2020-09-03"),
        ("martes, 3 de marzo de 2020", "2020-03-03"),
        ("lunes, 3 de agosto de 2020 10:00", "2020-08-03"),
        ("13/04/2020", "2020-04-13"),
        ("4/13/2020", "2020-04-13"),
        ("2020年3月5日", "2020-03-05"),
        ("Published online 3 May 2020", "2020-05-03"),
    ],
)
def test_a_day_is_read_in_every_common_form(text: str, day: str) -> None:
    known = date.fromisoformat(day)
    assert parse_dates(text) == DateRange(known, known)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2019", "2019-01-01", "2019-12-31"),
        ("[2019?]", "2019-01-01", "2019-12-31"),
        ("c. 1843", "1843-01-01", "1843-12-31"),
        ("to appear 2020", "2020-01-01", "2020-12-31"),
        ("Spring 2019", "2019-01-01", "2019-12-31"),
        ("2017///Spring", "2017-01-01", "2017-12-31"),
        ("2019-08", "2019-08-01", "2019-08-31"),
        ("201706", "2017-06-01", "2017-06-30"),
        ("12.2019", "2019-12-01", "2019-12-31"),
        ("2017/06//", "2017-06-01", "2017-06-30"),
        ("JUN 2017", "2017-06-01", "2017-06-30"),
        ("Mar, 2019", "2019-03-01", "2019-03-31"),
        ("févr. 2019", "2019-02-01", "2019-02-28"),
        ("2019-2020", "2019-01-01", "2020-12-31"),
        ("2019/2020", "2019-01-01", "2020-12-31"),
        ("2019-20", "2019-01-01", "2020-12-31"),
        ("Mar/Apr 2017", "2017-03-01", "2017-04-30"),
        ("sept.–oct. 2019", "2019-09-01", "2019-10-31"),
        ("2017 Mar-Apr", "2017-03-01", "2017-04-30"),
        ("2017 Dec-2018 Jan", "2017-12-01", "2018-01-31"),
        ("2016 Oct 3-5", "2016-10-03", "2016-10-05"),
        ("12-14 June 2017", "2017-06-12", "2017-06-14"),
        ("15. bis 17. Mai 2021", "2021-05-15", "2021-05-17"),
        ("May 1-3, 2019", "2019-05-01", "2019-05-03"),
        ("June 28 - July 3, 2017", "2017-06-28", "2017-07-03"),
        ("2019-05-01/2019-06-01", "2019-05-01", "2019-06-01"),
        ("2019-05/2019-06", "2019-05-01", "2019-06-30"),
        ("01.05.2019 - 03.05.2019", "2019-05-01", "2019-05-03"),
    ],
)
def test_a_month_a_year_and_a_range_are_the_days_that_they_have(
    text: str, first: str, last: str
) -> None:
    assert parse_dates(text) == DateRange(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("03/04/2020", "2020-03-04", "2020-04-03"),
        ("30 February 2020", "2020-01-01", "2020-12-31"),
        ("2020-13-45", "2020-01-01", "2020-12-31"),
        ("Vol 3 2019", "2019-01-01", "2019-12-31"),
    ],
)
def test_a_day_that_is_not_sure_is_not_guessed(text: str, first: str, last: str) -> None:
    assert parse_dates(text) == DateRange(date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize(
    "text",
    ["", "n.d.", "in press", "Jun 12", "JUN", "5", "Monday", "0000-00-00", "9999-12-31", "737",
     "1710147600", "9" * 5_000, "Fri, Oct", "12 Jun 2", "1/2/3"],
)  # fmt: skip
def test_without_a_year_of_papers_there_is_no_date(text: str) -> None:
    assert parse_dates(text) is None


@given(
    st.text(max_size=150)
    | st.lists(
        st.sampled_from(
            "2019|20190302|1|03|31|99|Mar|März|mars|Mai|Fri|Do|10:00|+0200|GMT|T|Z|-|/|.|,|;|(|)"
            "| to |bis|de|年|n.d.|10|of| ".split("|")
        ),
        max_size=12,
    ).map("".join)
)
def test_no_text_makes_reading_fail_and_the_first_day_comes_first(text: str) -> None:
    found = parse_dates(text)
    assert found is None or found.first <= found.last


@given(st.dates(date(1000, 1, 1), date(2100, 12, 31)))
def test_iso_dates_are_read_as_they_are(day: date) -> None:
    for text in (day.isoformat(), f"{day:%d %B} {day.year}", f"{day.day}.{day.month}.{day.year}"):
        assert parse_dates(text) == DateRange(day, day)

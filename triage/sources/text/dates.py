"""Reads the dates that feeds and reference managers write. The only module with dateutil."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final

from triage.domain.plain_text import without_accents

if TYPE_CHECKING:
    from dateutil.parser import parser

_LONGEST: Final = 100
_FIRST_YEAR, _LAST_YEAR = 1000, 2100
# English, German, French, Spanish, Italian and Portuguese, without accents.
_MONTHS: Final = (
    "jan january januar janner jaenner janvier janv enero ene gennaio gen janeiro",
    "feb february februar fevrier fevr fev febrero febbraio fevereiro",
    "mar march marz maerz mrz mars marzo marco",
    "apr april avril avr abril abr aprile",
    "may mai mayo maggio mag maio",
    "jun june juni juin junio giugno giu junho",
    "jul july juli juillet juil julio luglio lug julho",
    "aug august aout agosto ago",
    "sep sept september septembre septiembre setiembre settembre set setembro",
    "oct october oktober okt octobre octubre ottobre ott outubro out",
    "nov november novembre noviembre novembro",
    "dec december dezember dez decembre diciembre dic dicembre dezembro",
)
# “mar”, a Tuesday in French, Spanish and Italian, is left to `_TUESDAY`.
_SKIPPED: Final = (
    "mon tue tues wed thu thur thurs fri sat sun monday tuesday wednesday thursday friday saturday "
    "sunday mo di mi do fr sa so montag dienstag mittwoch donnerstag freitag samstag sonnabend "
    "sonntag lun mer jeu ven sam dim lundi mardi mercredi jeudi vendredi samedi dimanche mie jue "
    "vie sab dom lunes martes miercoles jueves viernes sabado domingo gio lunedi martedi mercoledi "
    "giovedi venerdi domenica seg ter qua qui sex segunda terca quarta quinta sexta feira "
    "de del des der den dem die das le la el du d l o er ro um uhr vom am im en c ca circa "
    "published epub online"
).split()
_TUESDAY: Final = re.compile(r"^mar(?:di|tes|tedi)?\.?,?\s+(?=\d{1,2}\.?\s+(?:de\s+)?[a-z])", re.I)
_DASHES: Final = str.maketrans("\u2010\u2011\u2012\u2013\u2014\u2015\u2212年月", "-" * 9, "日?~[]")
_IGNORED: Final = re.compile(
    r"\([^()]*\)"
    # The full stop of “15. März” and of “Sept.”
    r"|(?<=[A-Za-z])\.|(?<=\b\d)\.(?=\s|-|/)|(?<=\b\d\d)\.(?=\s|-|/)"
    # “12.2019”
    r"|(?<=^\d\d)\.(?=\d{4}$)|(?<=^\d{4})\.(?=\d\d$)"
    # PubMed writes volume and pages after a semicolon.
    r"|;.*"
    # RIS writes year/month/day/remark, and leaves out what it does not know.
    r"|(?<=^\d{4})/{2,}.*|(?<=^\d{4}/\d\d)//.*|(?<=^\d{4}/\d\d/\d\d)/.*"
)
_TIME: Final = re.compile(r"(?:T| )\d{1,2}:\d\d.*", re.ASCII)
_YEAR_AND_MONTH: Final = re.compile(r"(\d{4})(0[1-9]|1[0-2])", re.ASCII)
_SHORT_RANGE: Final = re.compile(r"(\d\d)(\d\d)\s*[-/]\s*(\d\d)", re.ASCII)
_DAYS_OF_MONTH: Final = re.compile(r"([A-Za-z]+ \d{1,2})\s*-\s*(\d{1,2}),? (\d{4})", re.ASCII)
_BETWEEN: Final = (
    re.compile(r"\s+-+\s+|\s*/\s*|\s*&\s*|\s(?:to|until|bis|und|and|et|au|y|e|ao|al|a)\s", re.I),
    re.compile(r"\s*-+\s*"),
)
_YEAR: Final = re.compile(r"(?<!\d)(?:1[5-9]|20)\d\d(?!\d)", re.ASCII)
# What the text does not say is as in these, so it differs between them.
_DEFAULTS: Final = (datetime(2000, 1, 1), datetime(2004, 2, 2))  # noqa: DTZ001


@dataclass(frozen=True, slots=True)
class DateRange:
    """The days that a date may mean: `first` and `last` are equal if the day is known."""

    first: date
    last: date


def parse_dates(text: str) -> DateRange | None:
    """Return the days that a text names: a day, a month, a year, or a range of these.

    It reads ISO 8601, RFC 822, what people write in six languages (`3 de septiembre de 2020`), and
    ranges (`2019-2020`, `Mar/Apr 2017`). A day is never guessed: `03/04/2020` is 3 April or
    4 March, so the range is from 4 March to 3 April. With full stops, the day comes first. If only
    a year can be read, as in `Spring 2019`, the range is this year.

    Returns:
        None if there is no year between 1000 and 2100, such as in an empty text and in `n.d.`.
    """
    text = without_accents(text[:_LONGEST].translate(_DASHES))
    text = " ".join(_IGNORED.sub(" ", text.strip()).split()).rstrip("-/ ")
    text = _TUESDAY.sub("", text)
    text = _YEAR_AND_MONTH.sub(r"\1-\2", text) if _YEAR_AND_MONTH.fullmatch(text) else text
    return (
        _one_date(text)
        # A wrong hour or an unknown zone says nothing against the day.
        or _one_date(_TIME.sub("", text))
        or _two_dates(text)
        or _span([(int(year), None, None) for year in _YEAR.findall(text)])
    )


# The year, month and day that a text names; None for each that it does not.
_Parts = tuple[int | None, int | None, int | None]


def _one_date(text: str) -> DateRange | None:
    years = _YEAR.findall(text)
    if len(years) > 1:
        return None
    one = _span([_parts(text, order) for order in _orders(text)])
    # dateutil may take the year for a time, 20:17, and a day for the year.
    if one is None or years not in ([], [str(one.first.year)]):
        return None
    return one if says_year(text, one.first.year) else None


def says_year(text: str, year: int) -> bool:
    """Return whether a text has a year in four or two digits; parsers take one digit for one."""
    return re.search(rf"{year}|(?<!\d){year % 100:02}(?!\d)", text) is not None


def _two_dates(text: str) -> DateRange | None:
    text = _SHORT_RANGE.sub(r"\1\2-\1\3", text) if _SHORT_RANGE.fullmatch(text) else text
    text = _DAYS_OF_MONTH.sub(r"\3 \1-\2", text)
    for between in _BETWEEN:
        for mark in between.finditer(text):
            ends: list[_Parts | None] = []
            for order in _orders(text):
                left, right = (
                    _parts(each, order) for each in (text[: mark.start()], text[mark.end() :])
                )
                if left and right:
                    # Each side leaves out what the other one says.
                    ends += [_filled(left, right), _filled(right, left)]
            both = _span(ends)
            if both is not None and says_year(text, both.first.year):
                return both
    return None


def _orders(text: str) -> tuple[bool, ...]:
    """Return whether the day comes before the month, or both answers if nobody knows."""
    if re.match(r"\d{1,2}\.(?:\d{1,2}\.|-)", text):
        return (True,)
    # Where the year comes first, the month comes second.
    return (False,) if re.match(r"\d{4}", text) else (True, False)


def _filled(parts: _Parts, other: _Parts) -> _Parts:
    year, month, day = parts
    return year or other[0], month or (other[1] if day else None), day


def _span(several: list[_Parts | None]) -> DateRange | None:
    days: list[date] = []
    for parts in filter(None, several):
        year, month, day = parts
        if year is None or not _FIRST_YEAR <= year <= _LAST_YEAR or (day and not month):
            return None
        last = month or 12
        try:
            days.append(date(year, month or 1, day or 1))
            days.append(date(year, last, day or monthrange(year, last)[1]))
        except ValueError:
            return None
    return DateRange(min(days), max(days)) if days else None


def _parts(text: str, day_first: bool = False) -> _Parts | None:
    try:
        one, other = (
            _parser().parse(text, default=each, ignoretz=True, dayfirst=day_first)
            for each in _DEFAULTS
        )
    except Exception:  # A bug of the parser must not cost a paper.
        return None
    pairs = ((one.year, other.year), (one.month, other.month), (one.day, other.day))
    year, month, day = (a if a == b else None for a, b in pairs)
    return year, month, day


@lru_cache(maxsize=1)
def _parser() -> parser:
    from dateutil.parser import parser, parserinfo

    class Words(parserinfo):  # type: ignore[misc]
        JUMP: ClassVar = [*parserinfo.JUMP, *_SKIPPED]
        MONTHS: ClassVar = [tuple(names.split()) for names in _MONTHS]
        # A weekday would choose a day.
        WEEKDAYS: ClassVar[list[tuple[str, ...]]] = []

        def convertyear(self, year: int, century_specified: bool = False) -> int:
            # RFC 5322, section 4.3; the original asks the clock.
            short = year < 100 and not century_specified
            return year + (2000 if year < 50 else 1900) if short else year

    return parser(Words())

"""EndNote's XML, with its `style` elements and without, and what is unsafe."""

from __future__ import annotations

import pytest

from triage.errors import ConfigError
from triage.subscribers.bibliography import endnote_xml


def styled(text: str) -> str:
    return f'<style face="normal" font="default" size="100%">{text}</style>'


RECORD = (
    "<record><rec-number>7</rec-number><ref-type name='Journal Article'>17</ref-type>"
    f"<contributors><authors><author>{styled('Lovelace, Ada')}</author><author>Babbage, C."
    f"</author></authors></contributors><titles><title>{styled('On ')}{styled('engines')}</title>"
    f"</titles><dates><year>{styled('2017')}</year><pub-dates><date>Jun 12</date></pub-dates>"
    f"</dates><abstract>{styled('We do.')}</abstract><electronic-resource-num>10.5555/a"
    "</electronic-resource-num><urls><related-urls><url>https://example.org</url></related-urls>"
    "</urls></record>"
)


@pytest.mark.parametrize(
    "text",
    [
        f'<?xml version="1.0" encoding="UTF-8"?><xml><records>{RECORD}</records></xml>',
        f'<?xml version="1.0" encoding="UTF-16"?>\n<xml>\n<records>{RECORD}</records></xml>',
        f"<records>{RECORD}</records>",
        f"\n <xml><records>\n{RECORD}\n</records></xml>\n",
    ],
)
def test_a_record_is_read(text: str) -> None:
    assert endnote_xml.looks_like(text)
    [record] = endnote_xml.read(text)
    assert (record["TI"], record["AU"]) == (["On engines"], ["Lovelace, Ada", "Babbage, C."])
    assert (record["PY"], record["DA"], record["DO"]) == (["2017"], ["Jun 12"], ["10.5555/a"])
    assert (record["AB"], record["UR"]) == (["We do."], ["https://example.org"])


@pytest.mark.parametrize(
    "text",
    [
        "<xml><records><record>",
        "<xml><records><a>&lol;</a></records></xml>",
        f"<xml><records>{'<a>' * 200}",
        "<xml><records>\x01</records></xml>",
        "<xml><records>\ud800</records></x>",
    ],
)
def test_what_is_damaged_or_unsafe_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"EndNote's XML .* Export"):
        endnote_xml.read(text)


def test_records_without_anything_are_empty() -> None:
    assert endnote_xml.read("<xml><records/></xml>") == []
    [record] = endnote_xml.read("<xml><records><record/></records></xml>")
    assert not any(record.values())

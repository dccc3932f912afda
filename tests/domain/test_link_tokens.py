"""A token does one thing, for one subscriber, and cannot be bent to do another."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import NOON
from triage.domain.link_tokens import (
    LIFETIMES,
    Claims,
    Keyring,
    Purpose,
    _encode,
    _mac,
    _pack,
    redact,
)
from triage.domain.records import EventKind
from triage.errors import ConfigError, TokenError, TokenExpired

SECRET = "a secret of the tests, 32 or more characters"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
VOTE = Claims("0123456789abcdef0123", NOON, "f" * 20, 3, EventKind.SAVE)

public_ids = st.binary(min_size=10, max_size=10).map(bytes.hex)
claims = st.builds(
    Claims,
    subscriber=public_ids,
    issued_at=st.datetimes(datetime(2020, 1, 1), datetime(2199, 1, 1)).map(  # noqa: DTZ001
        lambda at: at.replace(second=0, microsecond=0, tzinfo=UTC)
    ),
    slate=st.just("") | public_ids,
    position=st.integers(0, 255),
    action=st.none() | st.sampled_from(EventKind),
)


@pytest.fixture(scope="module")
def keyring() -> Keyring:
    return Keyring(SECRET)


@given(claims, st.sampled_from(Purpose))
def test_what_was_signed_is_what_is_read(said: Claims, purpose: Purpose) -> None:
    keyring = Keyring(SECRET)
    token = keyring.sign(purpose, said)
    assert keyring.verify(token, purpose, said.issued_at) == said
    assert token == keyring.sign(purpose, said)
    assert len(token) <= 66


@pytest.mark.parametrize("signed", Purpose)
@pytest.mark.parametrize("asked", Purpose)
def test_a_token_works_for_its_own_purpose_only(
    keyring: Keyring, signed: Purpose, asked: Purpose
) -> None:
    token = keyring.sign(signed, VOTE)
    if signed is asked:
        assert keyring.verify(token, asked, NOON) == VOTE
    else:
        with pytest.raises(TokenError):
            keyring.verify(token, asked, NOON)


def test_each_purpose_has_a_key_of_its_own_and_is_stated_besides(keyring: Keyring) -> None:
    """Either alone would part the purposes; this holds both."""
    ((kid, keys),) = keyring._keys.items()
    assert len(set(keys.values())) == len(Purpose)
    signed = f"v1.{kid}.{_encode(_pack(Purpose.LOGIN, VOTE))}"
    forged = f"{signed}.{_mac(keys[Purpose.VOTE], signed)}"
    with pytest.raises(TokenError):
        keyring.verify(forged, Purpose.VOTE, NOON)


def mutations(token: str, n: int, rng: random.Random) -> set[str]:
    """Return `n` different strings near `token` and never `token` itself."""
    found: set[str] = {token + "=", token + "==", token + "\n", " " + token, token.swapcase(), ""}
    for place in range(len(token)):
        found |= {token[:place] + other + token[place + 1 :] for other in ALPHABET + ".=é\x00 "}
        found.add(token[:place] + token[place + 1 :])
    while len(found) <= n:
        letters = list(token)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(letters))
            match rng.randrange(4):
                case 0:
                    letters[place] = rng.choice(ALPHABET)
                case 1:
                    letters.insert(place, rng.choice(ALPHABET + "."))
                case 2:
                    other = rng.randrange(len(letters))
                    letters[place], letters[other] = letters[other], letters[place]
                case _:
                    del letters[place]
        found.add("".join(letters))
    return found - {token}


@pytest.mark.parametrize("purpose", Purpose)
def test_no_mutation_is_accepted(keyring: Keyring, purpose: Purpose) -> None:
    token = keyring.sign(purpose, VOTE)
    tried = mutations(token, 10_000, random.Random(7))  # noqa: S311
    assert len(tried) >= 10_000
    for mutated in tried:
        with pytest.raises(TokenError):
            keyring.verify(mutated, purpose, NOON)


@given(public_ids, st.sampled_from([Purpose.BOUNCE, Purpose.UNSUBSCRIBE]))
def test_a_token_for_an_address_is_read_whatever_the_case(public_id: str, purpose: Purpose) -> None:
    keyring = Keyring(SECRET)
    token = keyring.sign_address(purpose, public_id)
    assert len(token) == 43
    assert token == token.lower()
    assert token.isalnum()
    for spelling in (token, token.upper()):
        assert keyring.verify_address(spelling) == (purpose, public_id)
    with pytest.raises(TokenError):
        Keyring(SECRET[::-1]).verify_address(token)
    assert Keyring(SECRET[::-1], SECRET).verify_address(token) == (purpose, public_id)


@pytest.mark.parametrize("purpose", [Purpose.BOUNCE, Purpose.UNSUBSCRIBE])
def test_no_mutation_of_a_token_for_an_address_is_accepted(
    keyring: Keyring, purpose: Purpose
) -> None:
    token = keyring.sign_address(purpose, "f" * 20)
    tried = {each for each in mutations(token, 10_000, random.Random(7)) if each.lower() != token}  # noqa: S311
    other = {Purpose.BOUNCE: "u", Purpose.UNSUBSCRIBE: "b"}[purpose]
    for mutated in tried | {other + token[1:], token[:17] + "a" * 26, keyring.sign(purpose, VOTE)}:
        with pytest.raises(TokenError):
            keyring.verify_address(mutated)


def test_an_address_is_for_a_public_id(keyring: Keyring) -> None:
    with pytest.raises(ValueError, match="20 lowercase"):
        keyring.sign_address(Purpose.BOUNCE, "x")


def test_tokens_in_addresses_are_redacted(keyring: Keyring) -> None:
    token = keyring.sign_address(Purpose.BOUNCE, "f" * 20)
    assert redact(f"from <bounces+{token}@example.org>") == "from <bounces+[token]@example.org>"
    assert redact("from ada+brackets@example.org") == "from ada+brackets@example.org"


def test_spare_bits_of_base64_do_not_give_a_second_spelling(keyring: Keyring) -> None:
    """22 characters hold 132 bits for a MAC of 128: the last four must be what was signed."""
    token = keyring.sign(Purpose.VOTE, VOTE)
    last = ALPHABET.index(token[-1])
    assert last % 16 == 0
    for spare in range(1, 16):
        with pytest.raises(TokenError):
            keyring.verify(token[:-1] + ALPHABET[last + spare], Purpose.VOTE, NOON)


def test_parts_of_two_good_tokens_do_not_make_a_third(keyring: Keyring) -> None:
    one = keyring.sign(Purpose.VOTE, VOTE).split(".")
    other_claims = Claims("9" * 20, NOON, "f" * 20, 4, EventKind.VOTE_UP)
    other = keyring.sign(Purpose.VOTE, other_claims).split(".")
    for mixed in ([*one[:3], other[3]], [*one[:2], other[2], one[3]]):
        with pytest.raises(TokenError):
            keyring.verify(".".join(mixed), Purpose.VOTE, NOON)


@pytest.mark.parametrize("purpose", LIFETIMES)
def test_a_token_ends_with_its_lifetime(keyring: Keyring, purpose: Purpose) -> None:
    lifetime = LIFETIMES[purpose]
    token = keyring.sign(purpose, VOTE)
    assert keyring.verify(token, purpose, NOON + lifetime - timedelta(seconds=1)) == VOTE
    with pytest.raises(TokenExpired):
        keyring.verify(token, purpose, NOON + lifetime)


@pytest.mark.parametrize("purpose", [Purpose.UNSUBSCRIBE, Purpose.PAPER])
def test_unsubscribe_and_paper_links_of_any_age_work(keyring: Keyring, purpose: Purpose) -> None:
    token = keyring.sign(purpose, VOTE)
    assert keyring.verify(token, purpose, NOON + timedelta(days=36_500)) == VOTE


def test_rotated_keys_still_verify_and_a_retired_one_does_not() -> None:
    secrets = [f"secret number {i} with enough characters in it" for i in range(4)]
    first = Keyring(secrets[0]).sign(Purpose.VOTE, VOTE)
    rotated = Keyring(secrets[3], secrets[2], secrets[1], secrets[0])
    assert rotated.verify(first, Purpose.VOTE, NOON) == VOTE
    assert rotated.sign(Purpose.VOTE, VOTE) == Keyring(secrets[3]).sign(Purpose.VOTE, VOTE)
    with pytest.raises(TokenError):
        Keyring(*secrets[1:]).verify(first, Purpose.VOTE, NOON)


def test_another_secret_with_the_same_key_id_does_not_verify(keyring: Keyring) -> None:
    forged = Keyring("another secret of the same length or more").sign(Purpose.VOTE, VOTE)
    kid = keyring.sign(Purpose.VOTE, VOTE).split(".")[1]
    _, _, payload, mac = forged.split(".")
    with pytest.raises(TokenError):
        keyring.verify(f"v1.{kid}.{payload}.{mac}", Purpose.VOTE, NOON)


@pytest.mark.parametrize("secret", ["", "x" * 31])
def test_a_short_secret_is_refused_with_advice(secret: str) -> None:
    with pytest.raises(ConfigError, match="at least 32"):
        Keyring(secret)
    with pytest.raises(ConfigError):
        Keyring(SECRET, secret)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Claims("short", NOON), "20 lowercase hex"),
        (Claims("A" * 20, NOON), "20 lowercase hex"),
        (Claims("0" * 20, NOON, slate="x" * 20), "20 lowercase hex"),
        (Claims("0" * 20, NOON, position=256), "range"),
        (Claims("0" * 20, datetime(2019, 1, 1, tzinfo=UTC)), "2020 or later"),
    ],
)
def test_claims_that_do_not_fit_are_the_callers_mistake(
    keyring: Keyring, wrong: Claims, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        keyring.sign(Purpose.PAPER, wrong)


@pytest.mark.parametrize(
    "line",
    [
        'GET /v/{} HTTP/1.1" 200',
        "https://triage.example/u/{}?x=1",
        "Subject: unsubscribe {}",
        "see {}, and {}",
        "GET /p/{}",
        "GET /d/{}",
    ],
)
@pytest.mark.parametrize("damage", ["", "cut", "altered", "encoded", "twice", "upper"])
def test_no_part_of_a_token_reaches_a_log(keyring: Keyring, line: str, damage: str) -> None:
    token = keyring.sign(Purpose.VOTE, VOTE)
    shown = {
        "": token,
        "cut": token[:40],
        "altered": token[:-3] + "zzz",
        "encoded": token.replace(".", "%2E"),
        "twice": token.replace(".", "%252e"),
        "upper": token.upper(),
    }[damage]
    clean = redact(line.format(*[shown] * 2))
    assert "[token]" in clean
    for start in range(8, len(shown) - 8):
        assert shown[start : start + 8] not in clean


def test_redacting_leaves_other_text_alone() -> None:
    text = "model v1.2 scored 3 papers; GET /preferences 200; arXiv:2603.00001v1. Next"
    assert redact(text) == text


@given(public_ids, st.integers(1, 255), st.sampled_from(EventKind))
def test_a_vote_fits_into_an_address_and_is_read_whatever_the_case(
    slate: str, position: int, kind: EventKind
) -> None:
    keyring = Keyring(SECRET)
    token = keyring.sign_vote_address(slate, position, kind)
    # 20 characters for the mailbox, and a plus.
    assert len(token) == 43
    assert re.fullmatch(r"v[a-z2-7]{42}", token)
    for spelling in (token, token.upper(), token.title()):
        assert keyring.verify_vote_address(spelling) == (slate, position, kind)
    with pytest.raises(TokenError):
        Keyring(SECRET[::-1]).verify_vote_address(token)
    assert Keyring(SECRET[::-1], SECRET).verify_vote_address(token) == (slate, position, kind)


def test_no_mutation_of_a_vote_in_an_address_is_accepted(keyring: Keyring) -> None:
    token = keyring.sign_vote_address("f" * 20, 3, EventKind.SAVE)
    for at in range(43):
        for other in "abcdefghijklmnopqrstuvwxyz234567":
            if other != token[at]:
                with pytest.raises(TokenError):
                    keyring.verify_vote_address(token[:at] + other + token[at + 1 :])
    for wrong in ("", token[:-1], token + "a", f" {token}", token.replace("v", "u", 1), "v" * 43):
        with pytest.raises(TokenError):
            keyring.verify_vote_address(wrong)


@pytest.mark.parametrize(
    ("slate", "position"), [("f" * 20, 0), ("f" * 20, 256), ("f" * 20, -1), ("x", 1), ("", 1)]
)
def test_a_vote_that_does_not_fit_is_refused(keyring: Keyring, slate: str, position: int) -> None:
    with pytest.raises(ValueError, match="position"):
        keyring.sign_vote_address(slate, position, EventKind.SAVE)


def test_votes_in_mails_are_redacted(keyring: Keyring) -> None:
    token = keyring.sign_vote_address("f" * 20, 3, EventKind.SAVE)
    for text in (f"b+{token}@x.example", f"mailto:b%2B{token}@x", f"Like: a [{token.upper()}]"):
        assert token.lower() not in redact(text).lower()
    assert keyring.sign_vote_address("f" * 20, 3, EventKind.VOTE_UP) != token

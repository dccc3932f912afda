"""Chooses the sentences of an abstract that say what the paper contributes.

Each sentence gets a score from its words. "We propose", "our results show" and "in this paper"
raise it. What is known, what is missing and why it matters lower it. What stands before the first
sentence about the paper itself is background, as in most abstracts (argumentative zones: Teufel &
Moens 2002). The cue words are English; an abstract without any of them is shown from its beginning.
`benchmarks.teaser` measures how often the contribution is shown.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from triage.domain.plain_text import shorten

MAX_SENTENCES: Final = 3
# Between two sentences that do not follow each other in the abstract.
GAP: Final = " … "

# -- sentences -------------------------------------------------------------------------------------

_END: Final = re.compile(r"[.!?][\"'”’)\]]*\s+(?=\S)|[\u3002\uff01\uff1f\u061f\u06d4][\"”’)\]]*\s*")
# Sentences that end with these are followed by no space.
_WIDE_ENDS: Final = "\u3002\uff01\uff1f"
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(\[/~-])(?:e\.g|i\.e|al|vs|cf|viz|figs?|eqs?|eqns?|secs?|refs?|tabs?|chap|resp|approx"
    r"|ca|dr|prof|st|mt|nos?|vol|pp?|spp?|subsp|var|w\.r\.t|a\.k\.a)\.$",
    re.IGNORECASE,
)
# "J. Smith", "U.S. Army", and the numbers of a list.
_INITIAL: Final = re.compile(r"(?:^|[\s(.])[A-Z]\.$|(?:^|[:;,(]\s*)\d{1,2}\.$")
_OPENER: Final = re.compile(
    r"(?:we|the|this|these|it|in|our|here|however|to|by|a|an|for|as|using)\b", re.IGNORECASE
)
_SECTION: Final = re.compile(
    r"(?:(?P<background>background|contexts?|introduction|motivations?|importance|problem)"
    r"|(?P<aim>(?:study )?(?:objectives?|aims?|goals?|purposes?|questions?))"
    r"|(?P<method>(?:(?:materials?|data|patients) and )?methods?(?: and \w+)?|methodology|approach"
    r"|design|settings?|participants|patients|measurements|data sources?"
    r"|main outcomes?(?: measures?)?)"
    r"|(?P<result>(?:main |key )?(?:results?|findings?|outcomes?)(?: and \w+)?)"
    r"|(?P<conclusion>conclusions?(?: and \w+)?|interpretation|discussion|significance"
    r"|contributions?))\s*[:.\u2013\u2014]",
    re.IGNORECASE,
)
# Some databases lose the colon.
_BARE_HEADING: Final = re.compile(
    r"\A(OBJECTIVES?|METHODS|RESULTS|CONCLUSIONS?|Objectives?|Methods|Results|Conclusions?)"
    r" (?=[A-Z])"
)


def split_sentences(text: str) -> list[str]:
    """Split text of one line into sentences; "" gives none.

    "e.g.", "et al.", "Fig. 2", "3.5" and initials end no sentence. The name of a section of the
    abstract ("Aims.") stays with the sentence after it.
    """
    sentences: list[str] = []
    start = 0
    for end in _END.finditer(text):
        sentence = text[start : end.end()].rstrip()
        if _ends_sentence(sentence, text[end.end() : end.end() + 20]):
            sentences.append(sentence)
            start = end.end()
    return [*sentences, text[start:]] if text[start:] else sentences


def _ends_sentence(sentence: str, rest: str) -> bool:
    following = rest.lstrip("\"'“‘([$\\{")
    if following[:1].islower() or _SECTION.fullmatch(sentence):
        return False
    if _ABBREVIATION.search(sentence[-12:]):
        return False
    return _INITIAL.search(sentence[-8:]) is None or _OPENER.match(following) is not None


# -- what sentences say ----------------------------------------------------------------------------

_PAPER: Final = (
    r"(?:paper|work|study|article|letter|review|report|survey|research|thesis|note|manuscript)"
)
# "We", "this paper", "this retrospective study", and up to three words before the verb.
_WE: Final = (
    rf"\b(?:we|(?:this|our|the present|the current) (?:[\w-]+ )?{_PAPER}|the authors)\b"
    r"(?:,? (?!not\b)[\w-]+){0,3}? "
)
_MAKE: Final = (
    r"(?:propos|introduc|present|develop|design|creat|build|built|construct|releas|contribut"
    r"|formulat|establish|deriv|prov|devis|extend|generali[sz]|reformulat|revisit|synthesi[sz]"
    r"|implement|adapt)"
)
_STUDY: Final = (
    r"(?:investigat|stud|examin|explor|analy[sz]|survey|consider|address|tackl|characteri[sz]"
    r"|quantif|aim|seek|ask|argu|challeng|constrain|review|enhanc|advanc|determin|describ|assess"
    r"|estimat|discuss|undert)"
)
_RUN: Final = (
    r"(?:evaluat|compar|measur|test|provid|conduct|perform|us|simulat|combin|calculat|comput|model"
    r"|adopt|appl|leverag|train|employ)"
)
_FIND: Final = (
    r"(?:show|demonstrat|find|found|discover|reveal|report|conclud|observ|identif|confirm|indicat"
    r"|suggest|detect|recover|uncover|highlight|obtain|infer|achiev|validat)"
)
_CUES: Final = tuple(
    (weight, re.compile(pattern, re.IGNORECASE))
    for weight, pattern in (
        (3.0, _WE + _MAKE),
        (2.0, _WE + _STUDY),
        (1.0, _WE + _RUN),
        (2.0, _WE + _FIND),
        (1.0, rf"\b(?:this|the present) (?:[\w-]+ )?{_PAPER}\b|^here\b"),
        (0.7, r"\bwe\b"),
        (
            1.5,
            r"\bour (?:\w+ ){0,2}(?:method|approach|framework|model|system|algorithm|analysis"
            r"|results?|findings|stud(?:y|ies)|experiments|goal|aim|objective|contributions?"
            r"|key insight)\b",
        ),
        (
            2.0,
            r"\b(?:results|findings|analys[ei]s|experiments|evaluations?|data|simulations"
            rf"|observations)(?: \w+)? {_FIND}",
        ),
        (0.8, r"\b(?:novel|new|first)\b"),
        (
            0.8,
            r"^(?:thus|hence|therefore|overall|altogether|taken together|in summary|consequently"
            r"|importantly)\b",
        ),
        (
            1.0,
            r"\bto (?:address|overcome|tackle|fill|bridge|solve|mitigate|resolve|achieve|close"
            r"|this end)\b.*?\b(?:we|this)\b",
        ),
        # What is known, what is missing and why it matters.
        (
            -1.5,
            r"^(?:however|recent|despite|although|while|existing|current|prior|previous|tradition"
            r"|conventional|yet|nevertheless|unfortunately|to date|many|most|as )",
        ),
        (
            -1.5,
            r"\b(?:has|have) (?:\w+ )?(?:been|become|gained|attracted|emerged|shown|achieved"
            r"|demonstrated|made|led|relied|focused)\b",
        ),
        (
            -1.5,
            r"\b(?:remains?|challenging|crucial|essential|suffers?|struggles?|lacks?|hinders?"
            r"|hampers?|often|typically|usually|widely|commonly|fundamental|fails?|limits"
            r"|poorly)\b",
        ),
        # What may follow from it, and where its code is.
        (
            -1.0,
            r"\b(?:future|paves? the way|potential|promising|we hope|opens? (?:up )?new"
            r"|implications?)\b",
        ),
        (
            -4.0,
            r"https?://|\b(?:code|data|dataset|models?|weights)\b.*\b(?:available|released|public)"
            r"\b|\breleas\w* (?:our |the |all )?(?:\w+ )?(?:code|data)\b",
        ),
        # Details.
        (
            -1.0,
            r"\b(?:outperform|surpass|state-of-the-art|superior|competitive)"
            r"|\bon (?:[\w-]+ ){0,4}(?:datasets?|benchmarks?)\b",
        ),
        (
            -1.0,
            r"^(?:specifically|in particular|furthermore|moreover|additionally|in addition|also"
            r"|then|next|first|second|finally|besides|notably|unlike|in contrast|for |each )",
        ),
    )
)
# Refers to the sentence before it, and says little without that one.
_REFERS: Final = re.compile(
    r"(?:it|they|its|their|such|th(?:is|[eo]se)) "
    rf"(?!(?:[\w-]+ )?(?:{_PAPER}|results?|findings?)\b)",
    re.IGNORECASE,
)
_OF_SECTION: Final = {"background": -2.0, "aim": 0.5, "method": -0.5, "conclusion": 1.0}
# From this score on a sentence is about the paper itself.
_OWN: Final = 2.0
_BEFORE_OWN: Final = -2.0
_BEFORE: Final = ("", "background", "aim")
_FIRST_OWN: Final = 1.5
# A second and a third sentence need at least these scores.
_LEAST: Final = (0.0, 1.5)
# So many characters of a sentence are read for its score; longer ones are no prose.
_READ: Final = 600


class _Sentence(NamedTuple):
    text: str
    score: float
    refers: bool

    def worth(self, *, has_previous: bool) -> float:
        """Return the score, which is lower without the sentence that this one refers to."""
        return self.score - (self.refers and not has_previous)


def choose_teaser(abstract: str, limit: int) -> str:
    """Return the two or three sentences that state the contribution, at most `limit` characters.

    They stay in their order, and GAP stands where sentences are left out. If not even the best
    sentence fits, it is cut as `shorten` cuts. An abstract of one sentence is that sentence, and ""
    gives "".

    Args:
        abstract: one line of text.
        limit: in characters.
    """
    sentences = _score(abstract)
    worth = [sentence.worth(has_previous=False) for sentence in sentences]
    if len(set(worth)) == 1:
        return _beginning(sentences, limit) or _cut(abstract, limit)
    chosen: list[int] = []
    for i in sorted(range(len(sentences)), key=lambda i: -worth[i]):
        if chosen:
            is_good = sentences[i].worth(has_previous=i - 1 in chosen) >= _LEAST[len(chosen) - 1]
            if not is_good or len(_join(sentences, [*chosen, i])) > limit:
                continue
        chosen.append(i)
        if len(chosen) == MAX_SENTENCES:
            break
    return _cut(_join(sentences, chosen), limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else shorten(text, limit - 2)


def _beginning(sentences: Sequence[_Sentence], limit: int) -> str:
    """Return as many of the first sentences as fit."""
    text = ""
    for n in range(1, len(sentences) + 1):
        longer = _join(sentences, range(n))
        if len(longer) > limit:
            break
        text = longer
    return text


def _join(sentences: Sequence[_Sentence], chosen: Collection[int]) -> str:
    text = ""
    for i in sorted(chosen):
        if text:
            text += GAP if i - 1 not in chosen else "" if text[-1] in _WIDE_ENDS else " "
        text += sentences[i].text
    return text


# The digests of other subscribers have the same papers.
@lru_cache(maxsize=4_096)
def _score(abstract: str) -> tuple[_Sentence, ...]:
    sentences = split_sentences(abstract)
    scores, refers, sections, section = [], [], [], ""
    for sentence in sentences:
        body = _BARE_HEADING.sub(r"\1: ", sentence)
        heading = _SECTION.match(body)
        if heading is not None:
            section = heading.lastgroup or ""
            body = body[heading.end() :].lstrip()
        score = sum(weight for weight, cue in _CUES if cue.search(body, 0, _READ))
        if section == "aim" and body.startswith("To "):
            score += _OWN
        scores.append(score + _OF_SECTION.get(section, 0.0))
        refers.append(_REFERS.match(body) is not None)
        sections.append(section)
    own_score = min(_OWN, max(scores, default=0.0))
    if own_score > 0:
        own = next(i for i, score in enumerate(scores) if score >= own_score)
        for i in range(own):
            scores[i] += _BEFORE_OWN if sections[i] in _BEFORE else 0.0
        scores[own] += _FIRST_OWN
    return tuple(map(_Sentence, sentences, scores, refers))

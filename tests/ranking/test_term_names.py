"""Words in reasons are words that people know, as the paper writes them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from triage.ranking.term_names import FEWEST_PAPERS, find_common_terms, name_terms, shared_parts

TEXT = (
    "Computer-Use Agents: end-to-end RL\n"
    "Non-linear agents (CUA) are self-supervised and state-of-the-art; $\\mathrm{video} x$ too. "
    "Video generation works. We propose a method for categories of 3D videos with 7b parameters, "
    "and the watermarking of a watermark. An ad is a café. Chain of thought reasoning."
)


@pytest.mark.parametrize(
    "debris",
    [
        "non", "self", "end end", "state art", "art", "mathrm", "method", "large", "7b", "10",
        "propose", "propose method", "ad", "thought chain", "use agent", "absent", "chain thought",
    ],
)  # fmt: skip
def test_fragments_formulas_general_words_and_numbers_are_no_words(debris: str) -> None:
    assert name_terms([debris], TEXT) == []


@pytest.mark.parametrize(
    ("term", "written"),
    [
        ("non linear", "non-linear"),
        ("self supervised", "self-supervised"),
        ("computer use", "computer-use"),
        ("cua", "CUA"),
        ("rl", "RL"),
        ("agent", "agents"),
        ("category", "categories"),
        ("3d video", "3D videos"),
        ("video generation", "video generation"),
        ("cafe", "cafe"),
    ],
)
def test_terms_stand_as_the_paper_writes_them(term: str, written: str) -> None:
    assert name_terms([term], TEXT) == [written]


def test_a_part_gives_its_place_to_the_whole_and_a_stem_is_told_once() -> None:
    terms = ["video", "watermark", "agent", "video generation", "watermarking"]
    assert name_terms(terms, TEXT) == ["video generation", "watermark", "agents"]
    assert name_terms([], TEXT) == []


def test_terms_that_a_tenth_of_the_day_has_are_common_but_not_of_a_few_papers() -> None:
    rows = np.zeros((FEWEST_PAPERS, 3), dtype=np.float32)
    rows[:5, 1] = 1
    rows[:6, 2] = 1
    assert find_common_terms(csr_matrix(rows)).tolist() == [False, False, True]
    assert not find_common_terms(csr_matrix(rows[:-1])).any()


@pytest.mark.parametrize(
    ("phrase", "text", "parts"),
    [
        ("video generation", "On Video Generation.", ["video generation"]),
        ("large language models", "a large language model", ["large language models"]),
        ("video generation", "the generation of a video", ["video", "generation"]),
        ("LLM for RecSys", "An LLM for search", ["LLM"]),
        ("large graphs", "a large house", []),
        ("deep learning of graphs", "deep learning of graph things", ["deep learning of graphs"]),
        ("deep learning of graphs", "graphs of deep learning", ["deep learning", "graphs"]),
        ("草稿", "本論文は草稿を調べる", ["草稿"]),
        ("graphs", "", []),
    ],
)
def test_the_parts_of_a_phrase_that_a_text_has(phrase: str, text: str, parts: list[str]) -> None:
    assert shared_parts(phrase, text) == parts

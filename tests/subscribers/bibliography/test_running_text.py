"""Lists that people paste are read; what only mentions papers, or is no text of papers, is not."""

from __future__ import annotations

import pytest

from triage.errors import ConfigError
from triage.subscribers.bibliography import running_text

SENTENCES = (
    "We study how models of language can be made smaller without a loss of quality,\n"
    "and compare our method with earlier ones (Hinton et al., arXiv:1503.02531). The\n"
    "results show that most of the weights can be removed, which was known, but also\n"
    "that the order in which they are removed matters. In this section we explain why\n"
    "this should be so, and what follows from it for the training of larger models.\n"
)


def ids(text: str) -> list[str]:
    return [value for _, found, _ in running_text.read(text) for _, value in found]


def titles(text: str) -> list[str]:
    return [title for _, found, title in running_text.read(text) if not found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2401.00011\n2401.00012v2\nhep-th/9901001", 3),
        ("- [One](https://arxiv.org/abs/2401.00011): what we began with,\n- 10.1145/1.2", 2),
        ("Hi Ada,\nlook at https://arxiv.org/abs/2401.00011 please\nbest, Ben", 1),
        ("id,score\n2401.00011,0.5\n2401.00012,0.7", 2),
    ],
)
def test_a_list_is_read(text: str, expected: int) -> None:
    assert len(ids(text)) == expected


def test_a_list_of_references_is_read_whose_lines_are_broken() -> None:
    reference = (
        "[{n}] A. Vaswani, N. Shazeer, N. Parmar, J. Uszkoreit, L. Jones, A. Gomez,\n"
        "L. Kaiser, and I. Polosukhin. Attention is all you need. In Advances in\n"
        "neural information processing systems, arXiv:2401.{n:05d}, 2017.\n"
    )
    assert len(ids("".join(reference.format(n=n) for n in range(1, 81)))) == 80


def test_a_list_of_titles_is_read() -> None:
    names = [f"Attention is all that you need, part {n}: more of it" for n in range(300)]
    assert titles("\n".join(names)) == names
    assert titles("attention is all you need\nword2vec explained") == [
        "attention is all you need",
        "word2vec explained",
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<!DOCTYPE html>\n<html><a href='https://arxiv.org/abs/2401.00011'>", "web page"),
        ("\n<html lang='en'><body>2401.00011</body></html>", "web page"),
        ("<!-- saved --><html>2401.00011</html>", "web page"),
        ("<?xml version='1.0'?>\n<PubmedArticleSet>10.1145/1.2</PubmedArticleSet>", "XML"),
        ("\\documentclass{article}\n\\begin{document}\nas in arXiv:2401.00011", "LaTeX"),
        ("% !TeX\n\\section{Introduction}\nas in arXiv:2401.00011", "LaTeX"),
        ('[{"DOI": "10.1145/1.2", "title": "Cut o', "damaged JSON"),
        ("FN Clarivate Analytics Web of Science\nPT J\nCR A, 2017, DOI 10.1145/1.2", "Web of"),
        ("{\\rtf1\\ansi arXiv:2401.00011}", "RTF"),
        ("import re\n\n\ndef f(x):\n    # arXiv:2401.00011\n    return g(x)\n\nclass A:", "code"),
        ("#include <x.h>\nint main() {\n  f(); // arXiv:2401.00011\n  return 0;\n}", "code"),
        ("function f() {\n  const a = 1;\n  // 10.1145/1.2\n}\nf();", "code"),
        (SENTENCES * 4, "running text"),
        (" ".join(SENTENCES.split()) * 10, "running text"),
        ((SENTENCES.replace(" (Hinton et al., arXiv:1503.02531)", "")) * 4, "running text"),
    ],
)
def test_what_is_no_list_is_named_and_refused(text: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"{kind}.*: give one of BibTeX, RIS"):
        list(running_text.read(text))


def test_a_paper_with_its_references_is_refused() -> None:
    references = "".join(f"[{n}] A. Author. A title. arXiv:2401.{n:05d}.\n" for n in range(150))
    with pytest.raises(ConfigError, match="mentions papers"):
        list(running_text.read(SENTENCES * 60 + references))


def test_nothing_is_an_empty_list() -> None:
    assert list(running_text.read("")) == list(running_text.read(" \n\t\n")) == []


def test_a_list_of_references_is_read_of_which_a_third_has_an_id() -> None:
    reference = (
        "Ashish Vaswani, Noam Shazeer, Niki Parmar, Jakob Uszkoreit, Llion Jones,\n"
        "and Illia Polosukhin. Attention is all you need. In Advances in neural\n"
        "information processing systems, pages 1 to 9{id}, 2017.\n"
    )
    text = "".join(
        reference.format(id=f", arXiv:2401.{n:05d}" if n % 3 == 0 else "") for n in range(60)
    )
    assert len(ids(text)) == 20

"""Text from outside becomes clean, readable, bounded text, and stays text."""

from __future__ import annotations

import html
import re
import unicodedata
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from triage.domain.source_records import FetchedPaper
from triage.errors import RejectedRecord
from triage.sources.text.cleaning import clean, normalise, shorten

ANY_TEXT = st.text(st.characters(), max_size=400)
TEX_TEXT = st.lists(
    st.sampled_from(
        [
            *r"\ $ { } ^ _ ~ & % # [ ] ( ) < > a 1 - ` '".split(),
            " ",
            "\x00",
            "\u202e",
            "\ud800",
            r"\frac",
            r"\sqrt",
            r"\alpha",
            r"\input",
            r"\begin",
            r"\left",
            r"\href",
            r"\cite",
            r"\frac{",
            r"\footnote{",
            "{,}",
            "^{",
            r"\textbf{",
            r"\unicode{x202E}",
            "&#8238;",
            "<i>",
            "</i>",
            "this https URL",
            "$$",
        ]
    ),
    max_size=60,
).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"$\alpha$ and $k$", "α and k"),
        (r"\emph{x}, \textbf{bold $x_i$}, {\it old}", "x, bold x_i, old"),
        (r"at $3\times10^{-3}$ kpc", "at 3×10⁻³ kpc"),
        (r"CO$_2$, $^{13}$C, 5$^{th}$, 2$^\circ$, $M_\odot$", "CO₂, ¹³C, 5th, 2°, M_⊙"),
        (r"$\mathcal{O}(n\log n)$ in $\mathbb{R}^d$", "O(n log n) in ℝ^d"),
        (r"$\frac{a+1}{b}$, $x^{\frac{1}{2}}$, $\sqrt{x}$", "(a+1)/b, x^(1/2), √x"),
        (r"$T_{\rm eff}\sim 10$ K", "T_eff~10 K"),
        (r"$\{a\}$ \(a\leq b\) $$x^{2n+1}$$", "{a} a≤b x^(2n+1)"),
        (r"$\hat{x}$, $\bar\nu$", "x̂, ν̄"),
        (r"50\% of R\&D", "50% of R&D"),
        (r"G\"odel, Erd\H{o}s, Poincar\'e, \'{\i}, \c{c}", "Gödel, Erdős, Poincaré, í, ç"),
        (r"as in \cite{x}.", "as in."),
        (r"\href{https://a.example/c_d}{code}", "code (https://a.example/c_d)"),
        (r"\url{https://a.example/c_d}", "https://a.example/c_d"),
        (r"\ourmodel{} is \rev{new}{old}", "ourmodel is new old"),
        (r"\SI{5}{\kilo\meter}", "5 kilometer"),
        (r"$\href{https://a.example/}{here\ it is}$", "here it is (https://a.example/)"),
        (r"1{,}400 of 10^{-3} in x_{max}, f{x}", "1,400 of 10⁻³ in x_max, f{x}"),
        (r"$\binom{n}{k} \pmod{4}$, $a\bmod 2$", "(n choose k) (mod 4), a mod 2"),
        (r"$\preceq\Psi$, $\sqrt\gamma$, $\hat{\mathrm{H}}$", "≼Ψ, √(γ), Ĥ"),
        ("Fig.~3 -- ``quoted''", "Fig. 3 \u2013 “quoted”"),
    ],
)
def test_tex_becomes_readable(text: str, expected: str) -> None:
    assert clean(text, 500) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"Poincar\'  e, Erd\H os, Fran\c cois, S\k a", "Poincaré, Erdős, François, Są"),
        (r"\'{\^e}, \'{\^{e}}, \'\^e, \'{ \^ e }", "ế, ế, ế, ế"),
        (r"\'{\i}, \'\i{}, \u{\i}, \v{\j}, {\'\i}n", "í, í, ĭ, ǰ, ín"),
        ("\\'{\\ae}, \\'{\\o}, \\v{Sk}oda, \\\"{ u}", "ǽ, ǿ, Škoda, ü"),
        (r"Skibi\ifmmode \acute{n}\else \'{n}\fi{}ski, Wita\l{}a", "Skibiński, Witała"),
        (r"\ifmmode \check{Z}\else \v{Z}\fi{}uti\ifmmode\acute{c}\else\'{c}\fi", "Žutić"),
        (r"\textsuperscript{4}He, CO\textsubscript{2}, 5\textsuperscript{th}", "⁴He, CO₂, 5th"),
        (r"$^{4}\mathrm{He}$ at $\sqrt{s}=13\text{ }\text{ }\mathrm{TeV}$", "⁴He at √s=13 TeV"),
        (r"${\mathrm{Bi}}_{2}{\mathrm{Se}}_{3}$, $\Sigma$$^{0}$", "Bi₂Se₃, Σ⁰"),
        (r"\ensuremath{\beta}-decay, \ce{H2O}, {\aa}, \dh", "β-decay, H2O, å, ð"),
        (
            r"S\o rensen, \O rsted, Pawe\l Kowalski, 5 \AA wide",
            "Sørensen, Ørsted, Paweł Kowalski, 5 Å wide",
        ),
        (r"$\alpha \leq \beta^2$, $a\beta \gamma$", "α ≤ β², aβγ"),
        ('a \\"quoted\\" word of \\"Ozg\\"ur', 'a "quoted" word of Özgür'),
        (r"\'{} and \c5 and \v", "'{} and c5 and v"),
    ],
)
def test_accents_and_formulas_of_publishers_are_read(text: str, expected: str) -> None:
    assert clean(text, 500) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            r"$\beta$-{VAE}-Net: Learning $\alpha$-divergence bounds in $O(n\log n)$ time",
            "β-VAE-Net: Learning α-divergence bounds in O(n log n) time",
        ),
        (
            r"{{Production of $\Sigma^{0}$ and $\Sigma$$^{0}$ hypernuclei at 10 $\mu$W}}",
            "Production of Σ⁰ and Σ⁰ hypernuclei at 10 μW",
        ),
        (r"{\it Ab initio} {DNA}~folding, {\'E}lan \new{x}", "Ab initio DNA folding, Élan x"),
        (r"\~nandu, \{a, b\}, \$5, 100\,\% \textbackslash{}n", "ñandu, {a, b}, $5, 100 % \\n"),
        (r"{A} {{B}C} }{ {D", "A BC D"),
    ],
)
def test_braces_of_bibtex_only_group(text: str, expected: str) -> None:
    assert clean(text, 500, is_bibtex=True) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("&lt;i&gt;E. coli&lt;/i&gt; in CO&lt;sub&gt;2&lt;/sub&gt;", "E. coli in CO₂"),
        (
            "CO&amp;lt;sub&amp;gt;2&amp;lt;/sub&amp;gt; &amp;lt;em&amp;gt;a&amp;lt;/em&amp;gt;",
            "CO₂ a",
        ),
        ("<i>E. &amp;amp; coli</i> &amp;ndash; &#38;#252;", "E. & coli \u2013 ü"),
        ("&lt;p&gt;<i>A</i>&lt;/p&gt;&lt;p&gt;B&lt;/p&gt;", "A B"),
        ("<sec><st>Aims</st><p>We sort.</p></sec>", "Aims We sort."),
        ("if a &lt; b, Vec&lt;T&gt; and &lt;b&gt; stay", "if a < b, Vec<T> and <b> stay"),
        ("R&amp;D", "R&D"),
        ("<![CDATA[On <scp>DNA</scp>]]>", "On DNA"),
        ("&lt;![CDATA[Sorting]]&gt;<!-- Q1 -->", "Sorting"),
    ],
)
def test_markup_is_read_however_often_it_was_escaped(text: str, expected: str) -> None:
    assert clean(text, 500) == expected


@pytest.mark.parametrize(
    "text",
    [
        "it costs $5 and $10",
        "$5-$10",
        "a < b and c > d",
        "<think> and <eos>",
        "R&D",
        "{{7*7}}",
        "<script>alert(1)</script>",
        "{% x %}",
        "let <i> be",
        "f(x) = {y}",
        "C++ & C#",
        "50% ~10",
    ],
)
def test_text_that_only_looks_like_markup_stays(text: str) -> None:
    assert clean(text, 500) == text


def test_commands_are_words_and_run_nothing() -> None:
    assert (
        clean(r"\input{|id} $\input{/etc/passwd}$ \write18{ls}", 500)
        == "|id /etc/passwd write18{ls}"
    )


def test_known_tags_go_and_scripts_become_signs() -> None:
    assert clean("CO<sub>2</sub> in <i>E. coli</i><br/>B", 500) == "CO₂ in E. coli B"
    assert clean("<jats:p>A &amp; B &lt;b&gt;</jats:p><jats:p>C</jats:p>", 500) == "A & B <b> C"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Our code is available at this https URL.", "Our code is available."),
        ("It works. Project page: this https URL.", "It works."),
        ("It works (code: this https URL), too.", "It works, too."),
        ("See the data at: this http URL, which helps.", "See the data, which helps."),
        (r"We release \href{this https URL}{it}.", "We release it."),
        ("Code: this https URL", ""),
    ],
)
def test_the_stand_in_for_links_goes_with_its_punctuation(text: str, expected: str) -> None:
    assert clean(text, 500) == expected


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("<msup><mi>x</mi><mn>2</mn></msup>", "x²"),
        ("<msub><mi>Bi</mi><mn>2</mn></msub><msub><mi>Se</mi><mn>3</mn></msub>", "Bi₂Se₃"),
        ("<msqrt><mi>s</mi></msqrt><mo>=</mo><mn>13</mn><mtext> TeV</mtext>", "√s=13 TeV"),
        ("<mfrac><mrow><mi>a</mi><mo>+</mo><mn>1</mn></mrow><mi>b</mi></mfrac>", "(a+1)/b"),
        ("<msubsup><mi>D</mi><mi>s</mi><mo>*</mo></msubsup>", "D_s*"),
        ("<mover><mi>B</mi><mo>¯</mo></mover><mspace width='1em'/><mi>&alpha;</mi>", "B̄ α"),
        ("<semantics><mi>x</mi><annotation>$x$</annotation></semantics>", "x"),
        ("<mi>x</mi><mo>&lt;</mo><mi>y</mi>", "x<y"),
    ],
)
def test_mathml_becomes_readable(formula: str, expected: str) -> None:
    expected = unicodedata.normalize("NFC", expected)
    assert clean(f"On <math>{formula}</math> in it", 500) == f"On {expected} in it"
    named = re.sub(r"<(/?)(\w)", r"<\1mml:\2", f"<math display='inline'>{formula}</math>")
    assert clean(f"On {named} in it", 500) == f"On {expected} in it"
    assert clean(f"On {html.escape(named)} in it", 500) == f"On {expected} in it"


def test_a_formula_in_tex_and_in_mathml_is_shown_once() -> None:
    tex = r"\documentclass[12pt]{minimal}\begin{document}$$\beta$$\end{document}"
    for source in (r"$$\beta$$", tex):
        jats = (
            f"<jats:p>The <jats:alternatives><jats:tex-math>{source}</jats:tex-math><mml:math>"
            "<mml:mi>β</mml:mi></mml:math></jats:alternatives> decay</jats:p>"
        )
        assert clean(jats, 500) == "The β decay"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We study infer-\n ence and opti- mization.", "We study inference and optimization."),
        (
            "Class imbal- ance hurts; imbalance is common.",
            "Class imbalance hurts; imbalance is common.",
        ),
        ("Trans- formers beat other transformers.", "Transformers beat other transformers."),
        ("in\u00ad\n ference, in\u00adference", "inference, inference"),
    ],
)
def test_words_broken_at_the_ends_of_lines_are_joined(text: str, expected: str) -> None:
    assert clean(text, 500) == expected


@pytest.mark.parametrize(
    "text",
    [
        "self- and cross-attention",
        "pre- and post-training, long- to short-term",
        "a two- dimensional map",
        "multi- modal and cross- lingual models",
        "one - or two - steps",
        "an- other-worldly, x- axis, non-in- ference",
    ],
)
def test_compounds_with_a_hyphen_and_a_blank_stay(text: str) -> None:
    assert clean(text, 500) == text


def test_controls_direction_marks_and_surrogates_go() -> None:
    hostile = "a\u202eb\u2066c\x00d\ud800e\u200bf\x1bg\r\nBcc: x\u2028y\x85z &#8238;&#13;&#10;!"
    assert clean(hostile, 500) == "abcdefg Bcc: x y z !"


def test_invisible_characters_cannot_hide_or_forge_markup() -> None:
    assert clean("$\\al\x00pha$ $\x01x\x02$ <\u200bi>y</i>", 500) == "α x y"


@given(ANY_TEXT | TEX_TEXT, st.sampled_from([20, 100, 500]))
@example("$" + "{" * 300, 500)
@example(r"\frac" * 100, 500)
@example("$\\" + "sqrt{" * 90, 500)
def test_clean_text_is_one_short_harmless_line(text: str, limit: int) -> None:
    cleaned = clean(text, limit)
    assert len(cleaned) <= limit
    assert cleaned == " ".join(cleaned.split())
    assert cleaned == unicodedata.normalize("NFC", cleaned)
    cleaned.encode("utf-8")
    harmful = {
        "\u061c",
        "\ufeff",
        *map(chr, range(0x200B, 0x2010)),
        *map(chr, range(0x2028, 0x202F)),
    }
    harmful |= set(map(chr, range(0x2060, 0x2070)))
    assert not harmful & set(cleaned)
    assert not [c for c in cleaned if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}]


@given(
    st.text(st.characters(exclude_characters="\\$^_{}`'~&-"), max_size=200)
    | st.lists(
        st.sampled_from(
            ["<i>", "</i>", "<sub>", "2", "</sub>", "&lt;", "&gt;", "&amp;", "A", " ", "i", "<p>"]
        ),
        max_size=20,
    ).map("".join)
)
def test_clean_text_without_tex_is_not_changed_again(text: str) -> None:
    cleaned = clean(text, 2_000)
    assert clean(cleaned, 2_000) == cleaned


@given(st.text(st.sampled_from("abc. ,"), max_size=80), st.integers(5, 60))
def test_shortening_cuts_at_a_word_and_says_so(text: str, limit: int) -> None:
    text = " ".join(text.split())
    short = shorten(text, limit)
    assert len(short) <= limit
    if len(text) <= limit:
        assert short == text
    elif short:
        assert short.endswith("…")
        assert text.startswith(short[:-1])


def test_shortening_keeps_whole_words() -> None:
    assert shorten("alpha beta gamma", 12) == "alpha beta…"
    assert shorten("x" * 50, 10) == "x" * 9 + "…"


def test_huge_records_are_cut_and_the_raw_text_is_kept() -> None:
    paper = normalise(
        FetchedPaper(
            source="import",
            source_id="x",
            title="word " * 1_000,
            abstract="<b>$x_1$ & \\emph{y}</b> this https URL, " * 30_000,
            authors=tuple(f"Author {n} " + "n" * 300 for n in range(2_000)),
            comment="c " * 1_000,
        )
    )
    assert len(paper.title) <= 500
    assert len(paper.abstract) <= 10_000
    assert paper.abstract.endswith("…")
    assert len(paper.raw_abstract) == 100_000
    assert len(paper.authors) == 200
    assert max(map(len, paper.authors)) == 100
    assert len(paper.comment) <= 500


@pytest.mark.parametrize(
    "unit",
    [
        "{",
        "}",
        "$",
        "\\",
        "$$",
        "<",
        "&",
        "<i ",
        "\\a{",
        "$\\frac{",
        "`",
        "[ ",
        ",",
        ": ",
        "(a ",
        "~",
        "\\'",
        "\\'{",
        "<math>",
        "<!--",
        "<![CDATA[",
        '\\"a ',
        "<tex-math>",
        "infer- ",
        "\\v ",
        "\\ifmmode ",
        "\\(",
        "^{",
        "_",
        "a:",
        "this https URL",
        "\\cite[",
        "x^",
        "\\sqrt{",
        "</b>",
        "\u0301",
    ],
)
def test_no_pattern_makes_cleaning_slow(unit: str) -> None:
    # Without a clock: quadratic work on a megabyte would not end within the test run.
    clean("this http " + unit * (1_000_000 // len(unit)), 10_000)


def test_raw_text_can_be_stored_anywhere() -> None:
    paper = normalise(FetchedPaper(source="x", source_id="1", title="a\x00b", abstract="c\ud800d"))
    assert (paper.raw_title, paper.raw_abstract) == ("a\ufffdb", "c\ufffdd")
    assert (paper.title, paper.abstract) == ("ab", "cd")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"title": " \u200b", "abstract": "a"}, "no title"),
        ({"title": "a", "abstract": "\r\n"}, "no abstract"),
        ({"title": "?!", "abstract": "a", "source_id": None}, "no id"),
    ],
)
def test_a_record_without_the_necessary_is_rejected_with_its_reason(
    fields: dict[str, str | None], reason: str
) -> None:
    record = FetchedPaper(**({"source": "x", "source_id": "1"} | fields))  # type: ignore[arg-type]
    with pytest.raises(RejectedRecord, match=reason):
        normalise(record)


def test_everything_given_arrives() -> None:
    paper = normalise(
        FetchedPaper(
            source="arxiv",
            source_id="2401.00001",
            version=2,
            title="T",
            abstract="A",
            authors=('M\\"uller, A.', " ", "B"),
            categories=("cs.CL", "cs.LG", "cs.CL"),
            listed_on=date(2026, 3, 2),
            comment="9 pages",
            doi="10.1/x",
            upvotes=3,
            tldr="Short.",
        )
    )
    assert paper.authors == ("Müller, A.", "B")
    assert paper.categories == ("cs.CL", "cs.LG")
    assert (paper.version, paper.listed_on, paper.comment) == (2, date(2026, 3, 2), "9 pages")
    assert (paper.doi, paper.upvotes, paper.tldr) == ("10.1/x", 3, "Short.")

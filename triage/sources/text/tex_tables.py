"""The text of the TeX commands that titles and abstracts use."""

from __future__ import annotations

from typing import Final


def _words(table: str) -> frozenset[str]:
    return frozenset(table.split())


def _pairs(table: str) -> dict[str, str]:
    words = table.split()
    return dict(zip(words[::2], words[1::2], strict=True))


# Spaces after letters are removed, as in TeX; those after signs stay.
LETTERS: Final = _pairs(
    "alpha α beta β gamma γ delta δ epsilon ε varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota "
    "ι kappa κ lambda λ mu μ nu ν xi ξ pi π varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς tau τ "
    "upsilon υ phi φ varphi φ chi χ psi ψ omega ω Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π "
    "Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω ell ℓ hbar ħ nabla ∇ partial ∂ infty ∞ odot ⊙ star ⋆ "
    "ast * prime ′ dagger † ddagger ‡ circ ∘ degree ° deg ° AA Å aa å ss ß ae æ AE Æ oe œ OE Œ o "
    "ø O Ø l ł L Ł i ı j ȷ emptyset ∅ varnothing ∅ aleph ℵ forall ∀ exists ∃ neg ¬ lnot ¬ Re ℜ "
    "Im ℑ textdegree ° textmu µ langle ⟨ rangle ⟩ lceil ⌈ rceil ⌉ lfloor ⌊ rfloor ⌋ lvert | "
    "rvert | lVert ‖ rVert ‖ oplus ⊕ otimes ⊗ sun ⊙ percent % S § P ¶ pounds £ euro € copyright "
    "© textregistered ® texttrademark ™ dh ð DH Ð th þ TH Þ dj đ DJ Đ textquoteleft ‘ "
    "textquoteright ’ textquotedblleft “ textquotedblright ”"
)
SIGNS: Final = _pairs(
    "times × cdot · pm ± mp ∓ div ÷ sim ~ simeq ≃ approx ≈ cong ≅ equiv ≡ neq ≠ ne ≠ leq ≤ le ≤ "
    "geq ≥ ge ≥ leqslant ≤ geqslant ≥ lesssim ≲ gtrsim ≳ ll ≪ gg ≫ lt < gt > propto ∝ to → "
    "rightarrow → longrightarrow → leftarrow ← gets ← leftrightarrow ↔ Rightarrow ⇒ "
    "Leftrightarrow ⇔ iff ⇔ implies ⇒ mapsto ↦ uparrow ↑ downarrow ↓ in ∈ notin ∉ ni ∋ subset ⊂ "
    "subseteq ⊆ supset ⊃ supseteq ⊇ cup ∪ cap ∩ setminus ∖ wedge ∧ land ∧ vee ∨ lor ∨ perp ⊥ top "
    "⊤ bot ⊥ parallel ∥ mid | vert | Vert ‖ sum ∑ prod ∏ int ∫ oint ∮ ldots … dots … cdots ⋯ "
    "colon : bullet • textendash – textemdash — textunderscore _ textasciitilde ~ textbackslash "
    "\\ textbar | textgreater > textless < asymp ≍ succ ≻ prec ≺ models ⊨ vdash ⊢ triangle △ "
    "textasciicircum ^ textbraceleft { textbraceright } "
    "square □ diamond ⋄"
)
NAMES: Final = _words(
    "log ln exp sin cos tan cot sinh cosh tanh arcsin arccos arctan max min arg argmax argmin "
    "lim limsup liminf sup inf det dim ker gcd Pr mod bmod tr rank poly polylog"
)
BLANKS: Final = _words("quad qquad space newline linebreak par hfill item thinspace")
# Fonts, sizes and delimiters: only their content is shown.
SWITCHES: Final = _words(
    "rm it bf em sc tt sf sl cal small footnotesize scriptsize tiny large Large normalsize "
    "bfseries itshape scshape ttfamily sffamily rmfamily displaystyle textstyle scriptstyle "
    "limits nolimits left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr "
    "noindent xspace protect relax centering boldmath unboldmath selectfont ensuremath mathrm "
    "mathit mathbf mathsf mathtt mathcal mathscr mathfrak mathnormal boldsymbol bm operatorname "
    "text textrm textit textbf textsf url path nolinkurl texttt textsc textsl textup textmd "
    "textnormal emph underline uline mbox hbox fbox pmb rmfamily mathop mathrel mathbin mathord "
    "mathring bold ul st hl sout"
)
FORGOTTEN: Final = _words(
    "cite citep citet citealt citealp citeauthor citeyear citenum nocite parencite textcite "
    "autocite ref eqref cref Cref autoref label footnotemark begin end vspace hspace color "
    "pagestyle thispagestyle bibliographystyle vskip hskip phantom"
)
SECOND_ARGUMENT: Final = frozenset(
    {"href", "hyperref", "textcolor", "texorpdfstring", "hyperlink", "colorbox", "raisebox"}
)
FORMULAS: Final = _words(
    "frac dfrac tfrac sqrt mathbb hat bar tilde vec dot ddot overline widehat widetilde binom "
    "unicode stackrel overset underset"
)
ESCAPES: Final = dict.fromkeys(" ,;:\\\n\t>", " ") | dict.fromkeys("-/!@", "")
ESCAPES.update({c: c for c in "%&_#${}"})
COMBINING: Final = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306",
    ".": "\u0307", '"': "\u0308", "r": "\u030a", "H": "\u030b", "v": "\u030c", "d": "\u0323",
    "c": "\u0327", "k": "\u0328", "b": "\u0331", "hat": "\u0302", "widehat": "\u0302",
    "tilde": "\u0303", "widetilde": "\u0303", "bar": "\u0304", "overline": "\u0304",
    "dot": "\u0307", "ddot": "\u0308", "vec": "\u20d7",
}  # fmt: skip
DOUBLE_STRUCK: Final = str.maketrans("CHNPQRZ", "ℂℍℕℙℚℝℤ")
RAISED: Final = str.maketrans("0123456789+-=()−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾⁻")
LOWERED: Final = str.maketrans("0123456789+-=()−", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎₋")
ORDINALS: Final = frozenset({"st", "nd", "rd", "th"})

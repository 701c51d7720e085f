"""Words as the caption evaluations count them: lower case, split as in the Penn Treebank, punctuation dropped.

    treebank("It's the chair, isn't it?") -> ["it", "'s", "the", "chair", "is", "n't", "it"]

ScanQA's scores are over the tokens of Stanford's PTBTokenizer (with lower case) without 18 marks of punctuation. This
does the same for the English of questions and answers, without Java: contractions are split (Penn Treebank
tokenization, 1995), brackets become -lrb- and the like, abbreviations keep their full stop, numbers stay whole.
What it leaves out: marked-up text, names of files and phone numbers.
"""

from __future__ import annotations

import re

DROPPED = frozenset(("''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"))
QUOTES = frozenset('"…–—')
BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
ABBREVIATIONS = (
    "mr|mrs|ms|dr|st|jr|sr|prof|etc|vs|inc|ltd|co|corp|ave|blvd|rd|fig|ph\\.d|jan|feb|aug|sept|oct|nov|dec"
)
WHOLE = {
    "cannot": ("can", "not"),
    "gonna": ("gon", "na"),
    "gotta": ("got", "ta"),
    "wanna": ("wan", "na"),
    "gimme": ("gim", "me"),
    "lemme": ("lem", "me"),
}
SIGNS = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "£": "#", "€": "$", "¢": "cents"}
A, LETTER = r"[^\W_²³¼½¾⅓⅔]", r"[^\W\d_²³¼½¾⅓⅔]"  # a letter or a digit, a letter
TOKEN = re.compile(
    rf"""
      (?P<whole>{LETTER}[\w.+-]*@[\w-]+(?:\.[\w-]+)+ | https?://\S+ | <[a-z/][^<>\s]*>)
    | (?P<short>(?:{LETTER}\.){{2,}}(?!{A}) | {LETTER}(?:\.{LETTER})+(?!{A}) | (?:{ABBREVIATIONS})\.(?!{A})
               | no\.(?=\s*\d) | (?<!{A})[a-z]\.(?!{A}))
    | (?P<number>[-+]?\d++(?:[.,:/-]\d++)*(?:(?!{A}|-{A})|(?<=:\d\d)(?=[ap]m)) | \.\d++(?!{A}))
    | (?P<clitic>'(?:s|m|d|re|ve|ll|em|n'?)(?!{A}|') | 't(?=is\b|was\b) | 'n' | n't(?!{A}))
    | (?P<word>(?-i:[A-Z]+&[A-Z]+(?!{A})) | (?:{LETTER}++\.)+{LETTER}++(?!-)
             | (?:[dlo]')?{A}++(?:[-_]{A}++)*(?:'t(?!{A}))?(?:/{A}++(?:[-_]{A}++)*){{0,2}})
    | (?P<face>[:;]-?[()])
    | (?P<mark>\.{{2,}} | [?!]{{2,}} | -{{2,}} | \#+ | @+ | \*+ | _+ | […–—] | '' | `` | \S)
    """,
    re.VERBOSE | re.IGNORECASE,
)
NOT = re.compile(r"(.+)(n't)")


def treebank(text: str) -> list[str]:
    """The words of a text, in order."""
    text = text.replace("’", "'").replace("‘", "`").replace("“", '"').replace("”", '"').replace("&amp;", "&")
    found: list[str] = []
    for match in TOKEN.finditer(text):
        token = match.group().lower()
        if match.lastgroup == "word":
            found += _split(token)
        elif match.lastgroup in ("mark", "face"):
            found.append("".join(BRACKETS.get(sign, SIGNS.get(sign, sign)) for sign in token))
        else:
            found.append(SIGNS.get(token, token))
    return [token for token in found if token not in DROPPED and token not in QUOTES]


def _split(word: str) -> list[str]:
    """A contraction as its two words, any other word as it is."""
    if word in WHOLE:
        return list(WHOLE[word])
    if parts := NOT.fullmatch(word):
        return [*parts.groups()]
    return [word]

"""Scientific names in one spelling: what surveys, records, traits and synonyms are matched by.

Rules of the International Code of Nomenclature (Shenzhen, 2018): letters beyond ASCII are transcribed (Art. 60.7), `×` marks
hybrids (Art. H.3), parents of a formula stand in alphabetical order (Rec. H.2A), ranks below species have one abbreviation.
Authors, years, subgenera and cultivars are no part of the name. An undetermined plant has no species name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from cube.records.name_words import AGGREGATES, GROUPS, LETTERS, NO_EPITHETS, NO_NAMES, OPEN, RANKS, SPECIES_WORDS

Kind = Literal["species", "infraspecific", "aggregate", "group", "formula", "above", "undetermined", "code"]

_LETTERS: Final = str.maketrans(LETTERS)
_TRANSCRIBED: Final = {**_LETTERS, ord("'"): None, ord("\u2019"): None}
_PLAIN: Final = re.compile(r"(?!Bare )[A-Z][a-z]+ ((?!x[^aeiouy])[a-z]{3,})", re.ASCII)
_GENUS: Final = re.compile(r"[A-Z][a-z]+(?:-[a-z]+)*")
_EPITHET: Final = re.compile(r"[a-z]{2,}(?:-[a-z]+)*|[a-z]-[a-z]{2,}")
_R_NAME: Final = re.compile(r"[^\W\d_][^\W_]+(?:-\w+)*\.+[^\W\d_].*")
_GLUED_RANK: Final = re.compile(
    r"(?<=\s)((?:notho)?(?:subsp|ssp|var|subvar|convar|forma|fo|f|sect|subg|agg|cf|aff|spp?)\.)(?=[^\W\d_])"
)
_SINGLE_SIGNS: Final = str.maketrans(dict.fromkeys("‐‑‒–—−", "-") | {"_": " ", "\u2715": "×", "\u2716": "×"})


@dataclass(frozen=True)
class ScientificName:
    """A name in its one spelling. `species` is the binomial, None where the name is of no single species.

    Kinds: species (hybrids with a name, too), infraspecific, aggregate (`agg.`, `s. l.`, `auct.`), group (a section), formula
    (a hybrid without a name), above (a genus or family), undetermined, and code: what is no Latin name is left as it is.
    """

    canonical: str
    kind: Kind
    species: str | None = None

    @property
    def names_a_taxon(self) -> bool:
        """Whether plants of this name are one thing to model: not a genus, a family or a guess."""
        return self.kind not in ("above", "undetermined")


@lru_cache(maxsize=200_000)
def scientific_name(text: str) -> ScientificName:
    """`text` as a name; see `ScientificName`. `Quercus robur L. x Q. petraea` is `Quercus petraea × Quercus robur`."""
    if (plain := _PLAIN.fullmatch(text)) and plain[1] not in NO_EPITHETS:  # most names: nothing to do
        return ScientificName(text, "species", text)
    clean = _clean(text)
    tokens = _tokens(clean)
    first = tokens[0].strip(".").casefold() if tokens else ""
    if clean.startswith("?") or first in NO_NAMES | {""} or (first in OPEN and len(tokens) > 1):
        return ScientificName(clean, "undetermined")
    parts = _split(tokens)
    hybrid_genus = len(parts) > 1 and not parts[0]
    parts = parts[1:] if hybrid_genus else parts
    if not parts[0] or "'" in parts[0][0] or not _GENUS.fullmatch(_latin(parts[0][0])):
        abbreviated = re.fullmatch(r"[A-Z][a-z]{0,2}\.", tokens[0]) and len(tokens) > 1
        return ScientificName(clean, "undetermined" if abbreviated else "code")
    genus = _latin(parts[0][0])
    if any(token.strip(".,()[]").casefold() in OPEN for token in (*tokens, *clean.split())):
        return ScientificName(clean, "undetermined")
    genus_text = f"× {genus}" if hybrid_genus else genus
    if len(parts) > 1 and len(parts[0]) == 1 and parts[1] and _is_epithet(parts[1][0]):
        name = _binomial(genus_text, ["×", *parts[1]], clean)
        parts = [[], *parts[2:]]
        hybrid_genus |= len(parts) > 1  # a formula of a hybrid: of no use as a name
    else:
        name = _binomial(genus_text, parts[0][1:], clean)
    if len(parts) == 1:
        return name
    parents = [genus_text if name.kind == "above" else name.canonical, *(_parent(part, genus) for part in parts[1:])]
    if hybrid_genus or not all(parents):
        return ScientificName(clean, "undetermined")
    return ScientificName(" × ".join(sorted(set(parents), key=lambda n: n.removeprefix("× "))), "formula")


def match_key(text: str) -> str:
    """What names are compared by: the canonical spelling; of what is no Latin name the text in one case."""
    name = scientific_name(str(text))
    if name.kind in ("code", "undetermined"):
        text = _clean(unicodedata.normalize("NFKC", name.canonical).casefold())
        name = scientific_name(text)  # in one case it may read as a name
        if name.kind in ("code", "undetermined"):
            return text
    return name.canonical


def binomial(text: str) -> str | None:
    """Genus and epithet of a scientific name, without authors and ranks below species; None where it is of no one species.

    `binomial("Fagus sylvatica L.") == "Fagus sylvatica"`, `binomial("Mentha x piperita L.") == "Mentha × piperita"`,
    `binomial("Fagus L.") is None`, `binomial("Carex sp.") is None`, `binomial("Quercus robur × petraea") is None`.
    """
    return scientific_name(str(text)).species


def transcribe(text: str) -> str:
    """`text` with the letters that the Code transcribes written in ASCII: `höstii` is `hoestii`."""
    return unicodedata.normalize("NFC", text).translate(_LETTERS)


def _clean(text: str) -> str:
    """`text` in composed Unicode, with single ASCII blanks, hyphens and `×`, without invisible characters."""
    for _ in range(0 if text.isascii() and text.isprintable() else 2):
        text = "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc") or c.isspace())
        text = unicodedata.normalize("NFKC", text)
    text = text.replace("&times;", "×").translate(_SINGLE_SIGNS)
    return re.sub(r"\s+", " ", text).strip(" \"'\u201c\u201d\u201e†*").strip()


def _tokens(text: str) -> list[str]:
    """Words of a name, authors among them, `×` apart; names of R and of capitals as they were before."""
    text = re.sub(r"(?:\bcv\.?\s.*|(?<=\s)['\u2018\u201c\"].*)$", "", text).strip()
    if " " not in text and _R_NAME.fullmatch(text) and not text.endswith(".."):
        text = re.sub(r" \d+$", "", re.sub(r"\.+", " ", text).strip())
    text = re.sub(r"(?<=[a-z])\.$", "", text) if len(text.split(" ")) == 2 and not text.endswith((" sp.", " spp.")) else text
    text = re.sub(r"(?<=[^\W\d_])\.\d+$", "", text)  # R and pandas number columns of one name
    if text.isupper() and " " in text:
        genus, *further_words = text.split(" ")
        plain = [
            w
            for i, w in enumerate(further_words)
            if i == 0
            or not w.isalpha()
            or _rank(w)
            or _rank(further_words[i - 1])
            or further_words[i - 1] in ("X", "×")
            or len(w) == 1
        ]
        text = " ".join([genus, *plain]).lower()
    words = re.sub(r"\s*×\s*", " × ", text).split()
    words = ["×" if w in ("x", "X") and len(words) > 1 else w for w in words]
    if words and re.fullmatch(r"[xX][A-Z][a-z].*", words[0]):
        words = ["×", words[0][1:], *words[1:]]
    first = 1 if words and words[0] == "×" else 0
    numbered = any(word.isdigit() and len(word) < 4 for word in words)
    if len(words) > first + 1 and not numbered and words[first].isalpha() and (words[first].islower() or words[first].isupper()):
        if words[first].islower() and words[first + 1].isupper() and len(words[first + 1]) > 2:
            words[first + 1] = words[first + 1].lower()
        if words[first + 1].islower() or words[first + 1] == "×":
            words[first] = words[first].capitalize()
    if len(words) > first:
        words[first] = "-".join([p.lower() if i else p for i, p in enumerate(words[first].split("-"))])
    if len(words) > first + 1 and re.fullmatch(r"x[bcdfghjklmnpqrstvwxz][a-z]{2,}", words[first + 1]):
        words[first + 1 : first + 2] = ["×", words[first + 1][1:]]  # no Latin word begins so
    text = _GLUED_RANK.sub(r"\1 ", " ".join(words))
    text = re.sub(r"(?<=\w)\(", " (", re.sub(r" [\u03b1-\u03c9]\.? ?(?=[a-z])", " ", text))
    text = re.sub(r"(^|× )(\S+) \([^)]*\)(?= [a-z×])", r"\1\2", text)  # a subgenus
    return text.split()


def _split(tokens: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == "×":
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _latin(word: str) -> str:
    if word.isascii():
        return word.replace("'", "")
    word = unicodedata.normalize("NFD", word.translate(_TRANSCRIBED))
    return "".join(c for c in word if not unicodedata.combining(c))


def _is_epithet(token: str) -> bool:
    word = token.rstrip(",")
    return word.casefold() not in NO_EPITHETS and word.islower() and _EPITHET.fullmatch(_latin(word)) is not None


def _rank(token: str) -> str | None:
    return RANKS.get(token.strip(".").casefold())


def _parent(part: Sequence[str], genus: str) -> str:
    """The canonical name of a parent of a formula, whose genus may be abbreviated or left out; "" for none."""
    if not part:
        return ""
    first = part[0]
    if re.fullmatch(r"[A-Z][a-z]{0,2}\.?", first) and genus.startswith(first.rstrip(".")):
        part = [genus, *part[1:]]
    elif _is_epithet(first):
        part = [genus, *part]
    if not _GENUS.fullmatch(_latin(part[0])):
        return ""
    name = _binomial(_latin(part[0]), part[1:], " ".join(part))
    return "" if name.kind == "undetermined" else _latin(part[0]) if name.kind == "above" else name.canonical


def _binomial(genus: str, tokens: Sequence[str], text: str) -> ScientificName:
    """A name of `genus` with epithets, ranks and authors in `tokens`; `text` is shown where there is no species."""
    cross = bool(tokens) and tokens[0] == "×"
    tokens = tokens[1:] if cross else tokens
    if any(re.search(r"[a-z]/|/[a-z]|^[+/&]$", token) for token in tokens[:2]) or (
        tokens and tokens[0].rstrip(".,0123456789").casefold() in SPECIES_WORDS
    ):
        return ScientificName(text, "undetermined")
    group = len(tokens) > 1 and tokens[0].strip(".").casefold() in GROUPS and tokens[1][:1].isupper()
    if not tokens or group or not _is_epithet(tokens[0]):
        return _above(genus, tokens, text)
    if len(tokens) > 2 and tokens[1].casefold() in ("et", "&", "or", "and", "oder", "und", "vel") and _is_epithet(tokens[2]):
        return ScientificName(text, "undetermined")  # two species
    species = f"{genus} {'× ' if cross else ''}{_latin(tokens[0].rstrip(',.'))}"
    ranks, suffix = _below(tokens[1:])
    below = " ".join([species, *ranks])
    if suffix:
        return ScientificName(f"{below} {suffix}", "aggregate", None if suffix == "auct." else species)
    return ScientificName(below, "infraspecific" if ranks else "species", species)


def _above(genus: str, tokens: Sequence[str], text: str) -> ScientificName:
    for i, token in enumerate(tokens[:-1]):
        if (group := GROUPS.get(token.strip(".").casefold())) and tokens[i + 1][:1].isupper():
            return ScientificName(f"{genus} {group} {_latin(tokens[i + 1]).rstrip('.,')}", "group")
    return ScientificName(genus if not tokens else text, "above")


def _below(tokens: Sequence[str]) -> tuple[list[str], str]:
    """(ranks and epithets below the species, `agg.`, `s. l.`, `auct.` or "") out of what follows it."""
    out: list[str] = []
    suffix, authors, depth, i = "", False, 0, 0
    words = [token.strip(",()").casefold() for token in tokens]
    while i < len(tokens):
        token, following = words[i], tokens[i + 1] if i + 1 < len(tokens) else ""
        depth += tokens[i].count("(")
        if depth == 0 and (rank := _rank(token)) and _is_epithet(following):
            out += [rank, _latin(following.rstrip(",."))]
            i += 1
        elif token.strip(".") in AGGREGATES:
            suffix = AGGREGATES[token.strip(".")]
        elif token in ("s.l.", "s.l", "s.lat.", "sl", "s.lat") or (
            token in ("s.", "sensu", "s") and re.match(r"l(\.|at|$)", following)
        ):
            suffix, authors = "s. l.", True
        elif token in ("auct.", "auct", "auctt.", "auctt"):
            suffix = suffix or "auct."
        elif not authors and depth == 0 and len(token) > 2 and _is_epithet(tokens[i]):
            out.append(_latin(tokens[i].rstrip(",.")))
        else:
            authors = True
        depth -= tokens[i].count(")")
        i += 1
    return out, suffix

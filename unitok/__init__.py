"""unitok: any modality's tokenizer in one shared vocabulary, read and written by one decoder-only LLM."""

from unitok.document import Document, Mark, Segment
from unitok.grammar import Grammar
from unitok.modality import BadCodes, BadItem, Codes, Legal, Modality, Side, Spec
from unitok.registry import create, names, register
from unitok.version import __version__
from unitok.vocabulary import Vocabulary

__all__ = [
    "BadCodes",
    "BadItem",
    "Codes",
    "Document",
    "Grammar",
    "Legal",
    "Mark",
    "Modality",
    "Segment",
    "Side",
    "Spec",
    "Vocabulary",
    "__version__",
    "create",
    "names",
    "register",
]

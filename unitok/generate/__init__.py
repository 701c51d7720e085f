"""Generation: many rows at once under the grammar, with guidance inside chosen spans, told as it comes."""

from unitok.generate.cache import Cache
from unitok.generate.sampler import Options, Prompt, Sampler
from unitok.generate.stream import Event, Teller

__all__ = ["Cache", "Event", "Options", "Prompt", "Sampler", "Teller"]

"""Language modelling tasks: predict the next character, byte or word of a text."""

from initlab.tasks.text.files import ptb, text_file, wikitext2
from initlab.tasks.text.hf_text import hf_text
from initlab.tasks.text.packaged import python_topics
from initlab.tasks.text.shakespeare import tiny_shakespeare
from initlab.tasks.text.task import TextData, TextTask

__all__ = ["TextData", "TextTask", "hf_text", "ptb", "python_topics", "text_file", "tiny_shakespeare", "wikitext2"]

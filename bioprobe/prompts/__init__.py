"""Text prompts: text types, templates, and the prompt set they make of a taxonomy."""

from bioprobe.prompts.prompt_set import PromptSet
from bioprobe.prompts.templates import read_templates, shipped_templates
from bioprobe.prompts.text_type import TextType

__all__ = ["PromptSet", "TextType", "read_templates", "shipped_templates"]

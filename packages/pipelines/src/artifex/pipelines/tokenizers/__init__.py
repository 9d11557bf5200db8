"""Tokenizers of CLIP and T5, read from the folders that transformers writes."""

from artifex.pipelines.tokenizers.base import Tokenizer as Tokenizer
from artifex.pipelines.tokenizers.base import Tokens as Tokens
from artifex.pipelines.tokenizers.clip import CLIPTokenizer as CLIPTokenizer
from artifex.pipelines.tokenizers.read import read_clip_tokenizer as read_clip_tokenizer
from artifex.pipelines.tokenizers.read import read_tokenizer as read_tokenizer
from artifex.pipelines.tokenizers.t5 import T5Tokenizer as T5Tokenizer

__all__ = ["CLIPTokenizer", "T5Tokenizer", "Tokenizer", "Tokens", "read_clip_tokenizer", "read_tokenizer"]

"""Encoders of a few thousand random weights, saved to folders as real ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

SENTENCES = (
    "the river ran past the old mill and into the sea",
    "a pep describes a new feature for python or its processes",
    "She closed the door, listened for a moment, and ran down the stairs.",
    "x",
    "numbers such as 1905 and 14:35 are words too",
)
WORDS = sorted(
    {word for sentence in SENTENCES for word in sentence.lower().replace(",", " ").replace(".", " ").split()}
)


def tiny_t5(folder: Path, kind: str = "T5EncoderModel", d_model: int = 16) -> Path:
    """A T5 encoder, or another of transformers' classes of a T5, with a Unigram tokenizer."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config

    letters = sorted({letter for sentence in SENTENCES for letter in sentence.lower()} - {" "})
    pieces = ["<pad>", "</s>", "<unk>", "▁", *(f"▁{word}" for word in WORDS), *letters]
    tokenizer = Tokenizer(
        models.Unigram([(piece, -float(place)) for place, piece in enumerate(dict.fromkeys(pieces))], 2)
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    # As a T5 tokenizer's own class says; transformers 4 would add token_type_ids.
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    inputs = ["input_ids", "attention_mask"]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **special)
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"d_model": d_model, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    config = T5Config(vocab_size=len(pieces), feed_forward_proj="gated-gelu", decoder_start_token_id=0, **sizes)
    getattr(transformers, kind)(config).save_pretrained(folder)
    return folder


def tiny_bert(folder: Path) -> Path:
    """A BERT with a WordPiece tokenizer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = sorted({letter for sentence in SENTENCES for letter in sentence.lower()} - {" "})
    parts = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *letters, *(f"##{x}" for x in letters)])
    words = {piece: place for place, piece in enumerate(parts)}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", words["[SEP]"]), ("[CLS]", words["[CLS]"]))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def tiny_sentence_transformer(folder: Path, *, dense: bool, normalise: bool, pooling: str = "mean") -> Any:
    """A model of sentence-transformers over `tiny_bert`, saved to `folder`, and returned as that library has it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules

    transformer = modules.Transformer(str(tiny_bert(folder.with_name(f"{folder.name}-bert"))), max_seq_length=24)
    torch.manual_seed(1)
    layers: list[Any] = [transformer, modules.Pooling(16, pooling_mode=pooling)]
    layers += [modules.Dense(16, 12)] if dense else []
    layers += [modules.Normalize()] if normalise else []
    model = SentenceTransformer(modules=layers, device="cpu")
    model.save(str(folder))
    return model

"""Small random tokenizers and text encoders."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import sentencepiece
from tokenizers import processors
from transformers import (
    CLIPTextConfig,
    LlamaConfig,
    LlamaModel,
    LlamaTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

WIDTH = 32
CAPTIONS = ["a red ball", "two cats on a wall", "a wall", "a taxi in city traffic"]
PRINTABLE = [chr(code) for code in range(33, 127)]


def clip_tokenizer():
    from vidmem.models.families.reference import build_tokenizer

    tokenizer = build_tokenizer(CAPTIONS, 600)
    tokenizer.model_max_length = 77
    return tokenizer


def clip_text(kind: type, **more):
    """CLIP text encoder of 77 tokens, with or without its projection."""
    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, projection_dim=WIDTH, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, **more,
    )  # fmt: skip
    return kind(config).eval()


def t5_tokenizer() -> T5Tokenizer:
    """Unigrams of single characters: no prompt of them is cut short, and no two are alike."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in PRINTABLE)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, additional_special_tokens=["<extra_id_0>"], model_max_length=256)


def save_published_t5(folder: Path) -> None:
    """The layout in which LTX-Video, CogVideoX, Mochi and Latte publish it: a model of sentencepiece, and no tokenizer.json."""
    words, model = [f"<extra_id_{number}>" for number in range(100)], io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CAPTIONS), model_writer=model, model_type="unigram", vocab_size=125, hard_vocab_limit=False,
        required_chars="".join(PRINTABLE), pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2,
    )  # fmt: skip
    first = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).vocab_size()
    ends = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    places = {0: "<pad>", 1: "</s>", 2: "<unk>"} | {first + place: word for place, word in enumerate(reversed(words))}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    config = ends | {"added_tokens_decoder": {str(place): {"content": word} | flags for place, word in places.items()}}
    config |= {"additional_special_tokens": words, "clean_up_tokenization_spaces": True, "extra_ids": 100, "legacy": True}
    config |= {"model_max_length": 128, "sp_model_kwargs": {}, "tokenizer_class": "T5Tokenizer"}
    added = {word: place for place, word in places.items() if place >= first}
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "spiece.model").write_bytes(model.getvalue())
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "special_tokens_map.json").write_text(json.dumps(ends | {"additional_special_tokens": words}))
    (folder / "added_tokens.json").write_text(json.dumps(added))


def t5_encoder() -> T5EncoderModel:
    config = T5Config(vocab_size=128, d_model=2 * WIDTH, d_kv=16, d_ff=WIDTH, num_layers=1, num_heads=2)
    return T5EncoderModel(config).eval()


def umt5_encoder() -> UMT5EncoderModel:
    config = UMT5Config(vocab_size=128, d_model=2 * WIDTH, d_kv=16, d_ff=WIDTH, num_layers=1, num_heads=2)
    return UMT5EncoderModel(config).eval()


def llama_tokenizer() -> LlamaTokenizer:
    """Byte-pair encoding that knows the words of HunyuanVideo's template: it must leave room for the prompt behind it."""
    from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE

    words = sorted({f"▁{word}" for word in DEFAULT_PROMPT_TEMPLATE["template"].split(" ")})
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *PRINTABLE]
    merges = [(word[:place], word[place]) for word in words for place in range(1, len(word)) if "\n" not in word]
    tokens = list(dict.fromkeys([*tokens, *(first + second for first, second in merges)]))
    vocabulary = {token: place for place, token in enumerate(tokens)}
    tokenizer = LlamaTokenizer(vocab=vocabulary, merges=list(dict.fromkeys(merges)), pad_token="</s>")
    start = ("<s>", vocabulary["<s>"])
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[start])
    return tokenizer


def llama() -> LlamaModel:
    config = LlamaConfig(
        vocab_size=len(llama_tokenizer()), hidden_size=2 * WIDTH, intermediate_size=WIDTH, num_hidden_layers=3,
        num_attention_heads=2, num_key_value_heads=2, pad_token_id=2, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaModel(config).eval()

"""Prompts of VideoCrafter become the tokens of OpenCLIP, whose padding is also a mark that prompts have."""

import json

import pytest
from transformers import CLIPTokenizer

from own_checkpoints import save_tiny
from vidmem.models.families.latent_video import LatentVideoPipeline
from vidmem.models.families.videocrafter import VideoCrafterPipeline

LETTERS = [chr(code) for code in [*range(33, 127), *range(161, 173), *range(174, 256)]]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """The tokenizer of Stable Diffusion 2 without merges: padding is '!', token 0; at the end of a word it is another token."""
    folder = tmp_path_factory.mktemp("tokenizer")
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: place for place, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "!", "unk_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77} | marks)
    )
    return CLIPTokenizer.from_pretrained(folder)


def tokens(tokenizer, prompt, cls=VideoCrafterPipeline):
    cleaned = cls.cleaned(None, prompt)
    ids = tokenizer(cleaned, padding="max_length", max_length=12, truncation=True, **cls.READING).input_ids
    return tokenizer.convert_ids_to_tokens(ids)


def padded(*words):
    return ["<|startoftext|>", *words, "<|endoftext|>", *["!"] * (10 - len(words))]


@pytest.mark.parametrize(("prompt", "words"), [
    ("hi!", ("h", "i</w>", "!</w>")), ("a!b", ("a</w>", "!</w>", "b</w>")), ("a &amp;amp; b", ("a</w>", "&</w>", "b</w>")),
    ("  a\n b ", ("a</w>", "b</w>")), ("“a”", ('"</w>', "a</w>", '"</w>')), ("", ()),
])  # fmt: skip
def test_prompts_are_read_as_openclip_reads_them(tokenizer, prompt, words):
    assert tokens(tokenizer, prompt) == padded(*words)


def test_other_families_read_prompts_as_their_tokenizer_does(tokenizer):
    assert tokens(tokenizer, "hi!", LatentVideoPipeline) == padded("h", "i</w>", "!")


def test_the_pipeline_reads_its_prompts_so(tmp_path, tokenizer, monkeypatch):
    folder, seen = save_tiny("VideoCrafterPipeline", tmp_path / "model"), []
    pipeline = VideoCrafterPipeline.from_pretrained(folder)

    def keep(prompts, **options):
        seen.append((prompts, options))
        return tokenizer(prompts, **options)

    monkeypatch.setattr(pipeline, "tokenizer", keep)
    keep.model_max_length = 12
    pipeline.encode_prompt(["a &lt; b!"])
    assert seen[0][0] == ["a < b!"]
    assert seen[0][1]["split_special_tokens"] is True

"""Captions → tokens → embeddings by a pretrained, frozen CLIP (2103.00020) or T5 (1910.10683).

The empty caption is the null condition of guidance; it has only the tokenizer's start or end token.
"""

from functools import cached_property

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from lite_sora.errors import UserError
from lite_sora.storage.hub import check_name, first_line, offline
from lite_sora.text.encoder import Text, pool, token_ids

PRETRAINED = {  # model_type in a model's config.json: the class of its text encoder in transformers
    "clip": "CLIPTextModel",
    "clip_text_model": "CLIPTextModel",
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
}
HOW_TO_NAME_ONE = (
    "Name a folder with a model's config.json, .safetensors and tokenizer files, or a hub id while there is a network; "
    "`hf download <id> --local-dir <folder>` fetches one"
)


class TextError(UserError):
    """A text model that cannot be loaded; the message says what to do."""


class PretrainedText:
    """A CLIP or T5 of the transformers library, by folder or hub id, with its tokenizer. It is frozen, and a plain
    object, so that a model conditioned on its embeddings does not train or save it; a run refers to it by name. Its
    weights are loaded with the first caption. Raises TextError if it cannot be loaded.

    Each token's embedding is normalised to mean 0 and variance 1, as in `TextEncoder`: text models differ in the scale
    of their activations (Sana, 2410.10629, normalises them too). Captions are cut off after `length` tokens, or after
    the model's own maximum if that is less."""

    def __init__(self, name: str, length: int = 256):
        from transformers import AutoConfig, AutoTokenizer

        try:
            self.name = check_name(name)
        except ValueError as error:
            raise TextError(f"{error}. {HOW_TO_NAME_ONE}") from None
        config = self._load(AutoConfig)
        if config.model_type not in PRETRAINED:
            raise TextError(
                f"{name} is a {config.model_type} model, which is not supported; supported are {', '.join(PRETRAINED)}"
            )
        self._class = PRETRAINED[config.model_type]
        config = getattr(config, "text_config", config)  # a whole CLIP has another for images
        self.width, self.length = config.hidden_size, min(length, getattr(config, "max_position_embeddings", length))
        tokenizer = self._load(AutoTokenizer)
        self.unknown = tokenizer.unk_token
        self.tokenizer: Tokenizer = tokenizer.backend_tokenizer
        self.tokenizer.enable_truncation(self.length)
        self.tokenizer.no_padding()
        # where tokenizer files are missing, transformers makes a tokenizer with next to no words
        if self.tokenizer.get_vocab_size() < config.vocab_size / 2:
            raise TextError(
                f"{name} has no matching tokenizer: it knows {self.tokenizer.get_vocab_size()} of the model's "
                f"{config.vocab_size} tokens. Add its tokenizer files (tokenizer.json, tokenizer_config.json)"
            )
        if not self.tokenizer.encode("").ids:
            raise TextError(
                f"the tokenizer of {name} adds neither a start nor an end token, so an empty caption has no token"
            )

    def _load(self, kind: type, **options):
        try:
            return kind.from_pretrained(self.name, trust_remote_code=False, local_files_only=self._offline, **options)
        except Exception as error:  # transformers and the hub raise many kinds
            reason = first_line(error)
            raise TextError(f"{self.name}: {kind.__name__} cannot load it ({reason}). {HOW_TO_NAME_ONE}") from error

    @cached_property
    def _offline(self) -> bool:
        return offline(self.name)

    @cached_property
    def model(self) -> nn.Module:
        import transformers

        kind = getattr(transformers, self._class)
        model, report = self._load(kind, use_safetensors=True, output_loading_info=True)
        if missing := report["missing_keys"]:
            raise TextError(f"{self.name}: its weights are not those of a {self._class}: {min(missing)} is missing")
        return model.eval().requires_grad_(False)

    def release(self) -> None:
        """Frees the model's memory, for example once all captions of a run are cached. The next caption loads it
        again."""
        vars(self).pop("model", None)

    def __deepcopy__(self, memo: dict) -> "PretrainedText":
        return self  # frozen: a copy of the model, such as its average, shares it

    def tokenize(self, captions: list[str]) -> Tensor:
        """Token ids (B, L), padded with -1 to the longest caption of the batch. -1 is not a token's id; CLIP's own
        padding is also its end token."""
        return token_ids(self.tokenizer, captions, padding=-1)

    @torch.no_grad()
    def __call__(self, ids: Tensor) -> Text:
        """Token ids (B, L) → Text in float32: the last hidden states, and CLIP's pooled output or their mean."""
        mask = ids >= 0  # (B, L)
        with torch.autocast(ids.device.type, enabled=False):  # the same values in training and in generation
            out = self.model.to(ids.device)(input_ids=ids.clamp(min=0), attention_mask=mask.long())
        tokens = out.last_hidden_state.float()  # (B, L, D)
        pooled = out.pooler_output.float() if "pooler_output" in out else pool(tokens, mask)  # (B, D)
        tokens, pooled = (F.layer_norm(h, h.shape[-1:]) for h in (tokens, pooled))
        return Text(tokens, mask, pooled)

    def encode(self, captions: list[str], device: torch.device | str = "cpu") -> list[tuple[Tensor, Tensor]]:
        """(tokens (L, D), pooled (D)) of each caption; `stack` makes a batch of them."""
        text = self(self.tokenize(captions).to(device))
        return [(h[mask], pooled) for h, mask, pooled in zip(text.tokens, text.mask, text.pooled, strict=True)]


def stack(captions: list[tuple[Tensor, Tensor]]) -> Text:
    """Text of B captions that were encoded one by one, each (tokens (L, D), pooled (D)), padded to the longest."""
    tokens, pooled = zip(*captions, strict=True)
    mask = [torch.ones(len(h), dtype=torch.bool, device=h.device) for h in tokens]
    tokens, mask = (nn.utils.rnn.pad_sequence(rows, batch_first=True) for rows in (tokens, mask))
    return Text(tokens, mask, torch.stack(pooled))

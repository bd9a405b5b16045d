"""Embeddings of captions, made once by a frozen text encoder and kept on disk, as latents are (`latents.py`)."""

from pathlib import Path

import torch
from tqdm import tqdm

from lite_sora.processes import Processes
from lite_sora.storage.tensors import Shards, digest, digest_of_weights
from lite_sora.text.encoder import Text
from lite_sora.text.pretrained import PretrainedText, stack

CAPTIONS_AT_ONCE = 64


class CachedTexts:
    """Captions → Text, from the cache."""

    def __init__(self, shards: Shards, names: dict[str, str]):
        """names: of each caption's entries, which are `name/tokens` (L, D) and `name/pooled` (D)."""
        self.shards, self.names = shards, names

    def __call__(self, captions: list[str], device: torch.device | str = "cpu") -> Text:
        names = [self.names[caption] for caption in captions]
        parts = [
            [self.shards[f"{name}/{part}"][:].float().to(device) for part in ("tokens", "pooled")] for name in names
        ]
        return stack(parts)


def cached_texts(encoder: PretrainedText, captions: list[str], folder: Path, processes: Processes) -> CachedTexts:
    """All captions and the empty one. What the cache in `folder` lacks is encoded first, by all processes together."""
    made_by = digest_of_weights(encoder.model.state_dict()), encoder.tokenizer.to_str(), encoder.length
    names = {caption: digest(made_by, caption) for caption in sorted({*captions, ""})}
    shards = Shards(folder)
    mine = list(names)[processes.rank :: processes.world]
    todo = [caption for caption in mine if f"{names[caption]}/pooled" not in shards]
    bar = tqdm(total=len(todo), desc="encoding captions", unit="caption", disable=not (processes.first and todo))
    with bar, shards:
        for first in range(0, len(todo), CAPTIONS_AT_ONCE):
            group = todo[first : first + CAPTIONS_AT_ONCE]
            for caption, (tokens, pooled) in zip(group, encoder.encode(group, processes.device), strict=True):
                shards.add(f"{names[caption]}/tokens", tokens.half())
                shards.add(f"{names[caption]}/pooled", pooled.half())
            bar.update(len(group))
    processes.wait()
    shards.find()
    return CachedTexts(shards, names)

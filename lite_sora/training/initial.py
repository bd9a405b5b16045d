"""--init: a model starts from the weights of another run, or of a published model (`python -m lite_sora.published`).

Whatever has the same name and shape is taken; the rest is as new. Of a word-level vocabulary, the words that both know
are taken. A published image model is made a video model first (`published/inflate.py`).
"""

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lite_sora.published.inflate import inflate
from lite_sora.published.pipeline import PublishedTextToVideo
from lite_sora.storage.runs import CheckpointError, folder_or_hub, need, read_json, read_tokenizer
from lite_sora.training.flags import TrainingError

WORDS = "text.embedding.weight"  # (vocabulary, D)


def start_from(model: nn.Module, run: str, show: bool = True) -> None:
    """Gives a new model the weights of `run`, a folder or hub id, as far as they fit; prints what was taken and what
    is new. Raises CheckpointError for a folder without weights, TrainingError where nothing fits."""
    folder = folder_or_hub(run)
    config = read_json(need(folder, "config.json"))
    if config.get("convention"):
        theirs = published_weights(PublishedTextToVideo.from_pretrained(folder), model)
    else:
        try:
            theirs = load_file(need(folder, "model.safetensors"))
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{folder}/model.safetensors cannot be read ({error})") from None
    ours = model.state_dict()
    taken = {name: value for name, value in theirs.items() if name in ours and value.shape == ours[name].shape}
    words = ""
    if WORDS in ours and WORDS in theirs:
        taken[WORDS], shared = known_words(model.text.tokenizer, ours[WORDS], read_tokenizer(folder), theirs[WORDS])
        words = f"; {shared} of {len(ours[WORDS])} words of the vocabulary are known"
    if not taken:
        raise TrainingError(f"--init {run}: no weight of it has the name and shape of one of this model's")
    model.load_state_dict(taken, strict=False)
    new = sorted({".".join(name.split(".")[:2]) for name in ours.keys() - taken.keys()})
    share = sum(ours[name].numel() for name in taken) / sum(value.numel() for value in ours.values())
    if show:
        print(f"from {run}: {share:.1%} of the weights{words}; new: {', '.join(new) or 'nothing'}")


def published_weights(published: PublishedTextToVideo, model: nn.Module) -> dict[str, Tensor]:
    """The weights of a published network by our names, inflated to the patches and length of `model`, a TextToVideo.
    Those of a SiT lack the embedding of t and the output: SiT counts time, and points its velocity, the other way."""
    patch, module = model.config.denoiser_config["patch"], published.denoiser
    if module.config.positions[0] == 1 and module.config.patch[0] == 1:
        module = inflate(module, model.latent_shape()[1], patch[0])
    left_out = ("embed_time", "out") if published.config.convention == "sit" else ()
    state = {name: value for name, value in module.state_dict().items() if not name.startswith(left_out)}
    return {f"denoiser.{name}": value for name, value in state.items()}


def known_words(ours, embedding: Tensor, theirs, their_embedding: Tensor) -> tuple[Tensor, int]:
    """Our embedding (V, D) with the rows of the words that their tokenizer knows too, and how many these are."""
    known = theirs.get_vocab()
    shared = {row: known[word] for word, row in ours.get_vocab().items() if word in known}
    if embedding.shape[1] != their_embedding.shape[1] or not shared:
        return embedding, 0
    embedding = embedding.clone()
    embedding[torch.tensor(list(shared))] = their_embedding[torch.tensor(list(shared.values()))]
    return embedding, len(shared)

"""A captioner that `training/captioner.py` trains: a small SmolVLM (2504.05299) of transformers' own classes. A vision
tower encodes each frame, neighbouring patches are merged into few tokens (pixel shuffle), and a language model reads
the tokens of all frames and writes the caption."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lite_sora.data.loading import to_model_range

# Special tokens, as SmolVLM's tokenizer names them; their ids are their indices here.
PAD, START, END = "<pad>", "<|im_start|>", "<end_of_utterance>"
IMAGE, AROUND_IMAGE, GLOBAL_IMAGE = "<image>", "<fake_token_around_image>", "<global-img>"
SPECIAL = [PAD, START, END, IMAGE, AROUND_IMAGE, GLOBAL_IMAGE]

# The frames without a question: the model has one task, whatever the words of the prompt.
CHAT_TEMPLATE = (
    START + "{% for message in messages %}{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "<image>{% endif %}{% endfor %}{% endfor %}" + END
)
IGNORED = -100  # a target that is not a token: padding of the shorter captions of a batch


def make_processor(captions: list[str], words: int, side: int, patch: int, merge: int):
    """The processor that turns frames, side × side pixels, and text into tensors. Its tokenizer is a byte-level BPE of
    at most `words` tokens, trained on the captions. The class is Idefics 3's, which makes the same tokens as SmolVLM's:
    SmolVLM's own needs num2words and torchvision, for videos, and the frames here are images."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Idefics3ImageProcessorPil, Idefics3Processor, PreTrainedTokenizerFast

    speller = Tokenizer(models.BPE())
    speller.pre_tokenizer, speller.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    how = {"special_tokens": SPECIAL, "initial_alphabet": pre_tokenizers.ByteLevel.alphabet(), "show_progress": False}
    speller.train_from_iterator(captions, trainers.BpeTrainer(vocab_size=words, **how))
    special = {"pad_token": PAD, "bos_token": START, "eos_token": END}
    special["extra_special_tokens"] = {
        "image_token": IMAGE,
        "fake_image_token": AROUND_IMAGE,
        "global_image_token": GLOBAL_IMAGE,
        "end_of_utterance_token": END,
    }
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=speller, padding_side="left", **special)
    size, tokens = {"longest_edge": side}, (side // patch // merge) ** 2  # tokens of a frame
    images = Idefics3ImageProcessorPil(size=size, max_image_size=size, do_image_splitting=False)
    return Idefics3Processor(images, tokenizer, image_seq_len=tokens, chat_template=CHAT_TEMPLATE)


def make_model(vocabulary: int, channels: int, layers: int, heads: int, side: int, patch: int, merge: int):
    """A SmolVLM with random weights. Its vision tower reads patches of patch × patch pixels, and merge × merge of these
    become one token of its language model. `channels`, `layers` and `heads` are those of both."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    size = {"hidden_size": channels, "num_hidden_layers": layers, "num_attention_heads": heads}
    size["intermediate_size"] = 4 * channels
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}  # of `SPECIAL`
    config = SmolVLMConfig(
        vision_config=size | {"image_size": side, "patch_size": patch},
        text_config=size | tokens | {"model_type": "llama", "vocab_size": vocabulary, "max_position_embeddings": 2048},
        scale_factor=merge,
        image_token_id=SPECIAL.index(IMAGE),
        pad_token_id=tokens["pad_token_id"],
    )
    model = SmolVLMForConditionalGeneration(config)
    model.generation_config.update(**tokens)
    return model


def prompt(processor, frames: int) -> Tensor:
    """Token ids (P,) of the prompt before a caption, as the processor makes them when the model is used."""
    message = {"role": "user", "content": [{"type": "image"}] * frames}
    text = processor.apply_chat_template([message], add_generation_prompt=True)
    blank = np.zeros((8, 8, 3), np.uint8)
    return torch.tensor(processor(text=[text], images=[[blank] * frames])["input_ids"][0])


def to_pixels(video: Tensor, device: torch.device) -> Tensor:
    """uint8 (B, 3, T, H, W) → (B, T, 3, H, W) in [-1, 1], the order of the processor."""
    return to_model_range(video.to(device, non_blocking=True)).transpose(1, 2).contiguous()


def caption_ids(tokenizer, captions: list[str]) -> Tensor:
    """Targets (B, L): the tokens of each caption and the one that ends it. "<image>" in a caption is spelt out."""
    rows = [tokenizer.encode(caption, split_special_tokens=True) for caption in captions]
    rows = [torch.tensor([*row, tokenizer.eos_token_id]) for row in rows]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED)


def next_tokens(model: nn.Module, pixels: Tensor, prompt: Tensor, targets: Tensor) -> Tensor:
    """Logits (B, L, V) of each target (B, L), given the frames, the prompt (P,) and the targets before it."""
    ids = torch.cat([prompt.expand(len(targets), -1), targets.clamp(min=0)], dim=1)  # (B, P + L), padded with PAD
    length = targets.shape[1]
    return model(input_ids=ids, pixel_values=pixels, use_cache=False, logits_to_keep=length + 1).logits[:, :-1]


def caption_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Each caption's mean cross-entropy over its tokens (B,), and the fraction of them that is the likeliest (B,)."""
    there = targets != IGNORED
    count = there.sum(1)
    loss = F.cross_entropy(logits.float().transpose(1, 2), targets, ignore_index=IGNORED, reduction="none").sum(1)
    return loss / count, ((logits.argmax(-1) == targets) & there).sum(1) / count


@torch.no_grad()
def write_captions(model: nn.Module, processor, pixels: Tensor, prompt: Tensor) -> list[str]:
    """The likeliest caption, word by word, of each video (B, T, 3, H, W)."""
    ids = prompt.expand(len(pixels), -1)  # (B, P)
    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, do_sample=False)
    return processor.tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)

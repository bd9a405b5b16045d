"""Tiny captioners with random weights, one of each family, saved as the folders that real ones are downloaded as.

Their tokenizers know a few words. Video processors cannot be made without torchvision: their settings are written.
"""

import json
from pathlib import Path

import torch
import transformers as tf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = "a red blue green circle square star moving left right up down describe the video caption en user assistant : ."
SIZE = {"height": 16, "width": 16}  # of the pictures that most of them see
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
CLIP = {**VISION, "model_type": "clip_vision_model", "image_size": 16, "patch_size": 8, "projection_dim": 16}
SIGLIP = {**VISION, "model_type": "siglip_vision_model", "image_size": 16, "vision_use_head": False}
TEXT = {**VISION, "num_key_value_heads": 2, "vocab_size": 96, "max_position_embeddings": 512}
TEXT |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = {**TEXT, "model_type": "llama"}
TEMPLATE = (
    "{% for message in messages %}user : {% for part in message['content'] %}{% if part['type'] == 'text' %}"
    "{{ part['text'] }}{% elif part['type'] == 'image' %}IMAGE{% elif part['type'] == 'video' %}VIDEO{% endif %}"
    "{% endfor %}{% endfor %} assistant :"
)


def tokens(*others: str, **named: str) -> tf.PreTrainedTokenizerFast:
    """A tokenizer of WORDS. Ids: [PAD] 0, [BOS] 1, [EOS] 2, [UNK] 3, then special ones as they come: 4, 5, …"""
    special = list(dict.fromkeys(["[PAD]", "[BOS]", "[EOS]", "[UNK]", *named.values(), *others]))
    known = [*special, *WORDS.split()]
    known += [f"word{i}" for i in range(len(known), 96)]  # the models' vocabulary
    vocabulary = {word: i for i, word in enumerate(known)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens(special)
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        unk_token="[UNK]",
        extra_special_tokens=named,
    )


def save(folder: Path, model_class, config, tokenizer, images=None, processor=None, video=None, image="", clip=None):
    """A model's folder: random weights, tokenizer, image processor, settings of processor and video processor, and a
    chat template with `image` and `clip` as its placeholders."""
    torch.manual_seed(0)
    model = model_class(config).eval()
    with torch.no_grad():  # random weights say little of what they see: more of everything
        for name, value in model.named_parameters():
            if value.ndim > 1 and "embed" not in name:
                value.normal_(std=0.25)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, 2
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if images is not None:
        images.save_pretrained(folder)
    if processor is not None:
        (folder / "processor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    if video is not None:
        (folder / "video_preprocessor_config.json").write_text(json.dumps(video), encoding="utf-8")
    if image:
        template = TEMPLATE.replace("IMAGE", image).replace("VIDEO", clip or "")
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def smolvlm(folder: Path) -> None:
    vision = {**VISION, "image_size": 16, "patch_size": 4}
    config = tf.SmolVLMConfig(vision_config=vision, text_config=LLAMA, scale_factor=2, image_token_id=4, pad_token_id=0)
    names = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
    }
    names["end_of_utterance_token"] = "<end_of_utterance>"
    images = tf.SmolVLMImageProcessorPil(size={"longest_edge": 16}, max_image_size={"longest_edge": 16})
    settings = {"processor_class": "SmolVLMProcessor", "image_seq_len": 4}
    save(
        folder, tf.SmolVLMForConditionalGeneration, config, tokens(**names), images, settings, {}, "<image>", "<video>"
    )


def idefics3(folder: Path) -> None:
    vision = {**VISION, "image_size": 16, "patch_size": 4}
    config = tf.Idefics3Config(
        vision_config=vision, text_config=LLAMA, scale_factor=2, image_token_id=4, pad_token_id=0
    )
    names = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
    }
    names["end_of_utterance_token"] = "<end_of_utterance>"
    images = tf.Idefics3ImageProcessorPil(size={"longest_edge": 16}, max_image_size={"longest_edge": 16})
    settings = {"processor_class": "Idefics3Processor", "image_seq_len": 4}
    save(folder, tf.Idefics3ForConditionalGeneration, config, tokens(**names), images, settings, image="<image>")


def _qwen(folder: Path, name: str, vision: dict, processor: str, **text) -> None:
    names = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    names |= {"vision_bos_token": "<|vision_start|>", "vision_eos_token": "<|vision_end|>"}
    ids = {"image_token_id": 4, "video_token_id": 5, "vision_start_token_id": 6, "vision_end_token_id": 7}
    config = getattr(tf, f"{name}Config")(text_config={**TEXT, **text}, vision_config=vision, **ids)
    patches = {
        "patch_size": 4,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": 64, "longest_edge": 4096},
    }
    images = tf.Qwen2VLImageProcessorPil(**patches)
    video = {
        **patches,
        "video_processor_type": "Qwen3VLVideoProcessor" if "3" in processor else "Qwen2VLVideoProcessor",
    }
    start, end = "<|vision_start|>", "<|vision_end|>"
    placeholders = f"{start}<|image_pad|>{end}", f"{start}<|video_pad|>{end}"
    model = getattr(tf, f"{name}ForConditionalGeneration")
    save(folder, model, config, tokens(**names), images, {"processor_class": processor}, video, *placeholders)


def qwen2_vl(folder: Path) -> None:
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    _qwen(folder, "Qwen2VL", vision, "Qwen2VLProcessor", rope_parameters=rope)


def qwen2_5_vl(folder: Path) -> None:
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "patch_size": 4}
    vision |= {"out_hidden_size": 16, "window_size": 16, "fullatt_block_indexes": [1]}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    _qwen(folder, "Qwen2_5_VL", vision, "Qwen2_5_VLProcessor", rope_parameters=rope)


def qwen3_vl(folder: Path) -> None:
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "patch_size": 4}
    vision |= {"out_hidden_size": 16, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0, "mrope_interleaved": True}
    _qwen(folder, "Qwen3VL", vision, "Qwen3VLProcessor", rope_parameters=rope, head_dim=8)


def glm4v(folder: Path) -> None:
    names = {"image_token": "<|image|>", "video_token": "<|video|>"}
    sides = [f"<|{side}_of_{kind}|>" for kind in ("image", "video") for side in ("begin", "end")]
    ids = {"image_token_id": 4, "video_token_id": 5, "image_start_token_id": 6, "image_end_token_id": 7}
    ids |= {"video_start_token_id": 8, "video_end_token_id": 9}
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "patch_size": 4}
    vision |= {"out_hidden_size": 16, "image_size": 16}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    config = tf.Glm4vConfig(text_config={**TEXT, "rope_parameters": rope}, vision_config=vision, **ids)
    patches = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
    patches["size"] = {"shortest_edge": 64, "longest_edge": 4096}
    images = tf.Glm4vImageProcessorPil(**patches)
    video = {**patches, "video_processor_type": "Glm4vVideoProcessor"}
    placeholders = sides[0] + "<|image|>" + sides[1], sides[2] + "<|video|>" + sides[3]
    settings = {"processor_class": "Glm4vProcessor"}
    model = tf.Glm4vForConditionalGeneration
    save(folder, model, config, tokens(*sides, **names), images, settings, video, *placeholders)


def minicpmv4_6(folder: Path) -> None:
    """Needs torchvision to be loaded."""
    names = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>", "image_start_token": "<image>"}
    names |= {"image_end_token": "</image>", "slice_start_token": "<slice>", "slice_end_token": "</slice>"}
    names |= {"image_id_start_token": "<image_id>", "image_id_end_token": "</image_id>"}
    vision = {**VISION, "image_size": 32, "patch_size": 4, "insert_layer_id": 0}
    config = tf.MiniCPMV4_6Config(
        text_config={**TEXT, "model_type": "qwen2"}, vision_config=vision, image_token_id=4, video_token_id=5,
        insert_layer_id=0, image_size=32,
    )  # fmt: skip
    size = {"scale_resolution": 32, "patch_size": 4, "slice_mode": False}
    images = tf.MiniCPMV4_6ImageProcessorPil(**size)
    video = {**size, "video_processor_type": "MiniCPMV4_6VideoProcessor"}
    settings = {"processor_class": "MiniCPMV4_6Processor"}
    model = tf.MiniCPMV4_6ForConditionalGeneration
    save(folder, model, config, tokens(**names), images, settings, video, "<|image_pad|>", "<|video_pad|>")


def _clip_images(**settings) -> tf.CLIPImageProcessorPil:
    return tf.CLIPImageProcessorPil(size=SIZE, crop_size=SIZE, **settings)


def llava(folder: Path) -> None:
    config = tf.LlavaConfig(vision_config=CLIP, text_config=LLAMA, image_token_index=4, vision_feature_layer=-1)
    settings = {"processor_class": "LlavaProcessor", "patch_size": 8, "vision_feature_select_strategy": "default"}
    settings["num_additional_image_tokens"] = 1
    tokenizer = tokens(image_token="<image>")
    save(folder, tf.LlavaForConditionalGeneration, config, tokenizer, _clip_images(), settings, image="<image>")


def llava_next(folder: Path) -> None:
    config = tf.LlavaNextConfig(
        vision_config={**CLIP, "patch_size": 4}, text_config=LLAMA, image_token_index=4, vision_feature_layer=-1,
        image_grid_pinpoints=[[16, 16]],
    )  # fmt: skip
    settings = {"processor_class": "LlavaNextProcessor", "patch_size": 4, "num_additional_image_tokens": 1}
    settings["vision_feature_select_strategy"] = "default"
    images = tf.LlavaNextImageProcessorPil(size=SIZE, crop_size=SIZE, image_grid_pinpoints=[[16, 16]])
    tokenizer = tokens(image_token="<image>")
    save(folder, tf.LlavaNextForConditionalGeneration, config, tokenizer, images, settings, image="<image>")


def video_llava(folder: Path) -> None:
    config = tf.VideoLlavaConfig(
        vision_config=CLIP, text_config=LLAMA, image_token_index=4, video_token_index=5, vision_feature_layer=-1
    )
    settings = {"processor_class": "VideoLlavaProcessor", "patch_size": 8, "vision_feature_select_strategy": "default"}
    settings["num_additional_image_tokens"] = 1
    images = tf.VideoLlavaImageProcessor(size=SIZE, crop_size=SIZE)
    video = {"video_processor_type": "VideoLlavaVideoProcessor", "size": SIZE, "crop_size": SIZE}
    tokenizer = tokens(image_token="<image>", video_token="<video>")  # and no chat template
    save(folder, tf.VideoLlavaForConditionalGeneration, config, tokenizer, images, settings, video)


def llava_next_video(folder: Path) -> None:
    config = tf.LlavaNextVideoConfig(
        vision_config={**CLIP, "patch_size": 4}, text_config=LLAMA, image_token_index=4, video_token_index=5,
        vision_feature_layer=-1, image_grid_pinpoints=[[16, 16]],
    )  # fmt: skip
    settings = {"processor_class": "LlavaNextVideoProcessor", "patch_size": 4, "num_additional_image_tokens": 1}
    settings["vision_feature_select_strategy"] = "default"
    images = tf.LlavaNextImageProcessorPil(size=SIZE, crop_size=SIZE, image_grid_pinpoints=[[16, 16]])
    video = {"video_processor_type": "LlavaNextVideoVideoProcessor", "size": SIZE, "crop_size": SIZE}
    tokenizer = tokens(image_token="<image>", video_token="<video>")
    placeholders = "<image>", "<video>"
    save(folder, tf.LlavaNextVideoForConditionalGeneration, config, tokenizer, images, settings, video, *placeholders)


def llava_onevision(folder: Path) -> None:
    vision = {**SIGLIP, "patch_size": 4}
    config = tf.LlavaOnevisionConfig(
        vision_config=vision, text_config={**TEXT, "model_type": "qwen2"}, image_token_index=4, video_token_index=5,
        image_grid_pinpoints=[[16, 16]], vision_feature_select_strategy="full", vision_feature_layer=-1,
    )  # fmt: skip
    settings = {"processor_class": "LlavaOnevisionProcessor", "num_image_tokens": 16}
    settings["vision_feature_select_strategy"] = "full"
    images = tf.LlavaOnevisionImageProcessorPil(size=SIZE, image_grid_pinpoints=[[16, 16]])
    video = {"video_processor_type": "LlavaOnevisionVideoProcessor", "size": SIZE}
    tokenizer = tokens(image_token="<image>", video_token="<video>")
    placeholders = "<image>", "<video>"
    save(folder, tf.LlavaOnevisionForConditionalGeneration, config, tokenizer, images, settings, video, *placeholders)


def internvl(folder: Path) -> None:
    vision = {**VISION, "image_size": [16, 16], "patch_size": [4, 4]}
    text = {**TEXT, "model_type": "qwen2"}
    config = tf.InternVLConfig(vision_config=vision, text_config=text, image_token_id=4, image_seq_length=4)
    names = {"context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}
    names |= {"start_image_token": "<img>", "end_image_token": "</img>"}
    images = tf.GotOcr2ImageProcessorPil(size=SIZE, crop_to_patches=False)
    settings = {"processor_class": "InternVLProcessor", "image_seq_length": 4}
    video = {"video_processor_type": "InternVLVideoProcessor", "size": SIZE}
    placeholders = "<IMG_CONTEXT>", "<video>"
    model = tf.InternVLForConditionalGeneration
    save(folder, model, config, tokens(**names), images, settings, video, *placeholders)


def video_llama_3(folder: Path) -> None:
    vision = {**VISION, "patch_size": 4}
    text = {**TEXT, "model_type": "qwen2"}
    config = tf.VideoLlama3Config(text_config=text, vision_config=vision, image_token_id=4, video_token_id=5)
    patches = {"patch_size": 4, "size": {"shortest_edge": 64, "longest_edge": 4096}}
    images = tf.VideoLlama3ImageProcessorPil(**patches, merge_size=1)
    video = {**patches, "merge_size": 2, "video_processor_type": "VideoLlama3VideoProcessor"}
    names = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    settings = {"processor_class": "VideoLlama3Processor"}
    placeholders = names.values()
    model = tf.VideoLlama3ForConditionalGeneration
    save(folder, model, config, tokens(**names), images, settings, video, *placeholders)


def gemma3(folder: Path) -> None:
    vision = {**VISION, "image_size": 16, "patch_size": 4, "vision_use_head": False}
    config = tf.Gemma3Config(
        text_config={**TEXT, "head_dim": 8}, vision_config=vision, mm_tokens_per_image=4, image_token_id=4
    )
    config.boi_token_id, config.eoi_token_id, config.eos_token_id = 5, 6, 2
    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    images = tf.Gemma3ImageProcessorPil(size=SIZE)
    settings = {"processor_class": "Gemma3Processor", "image_seq_length": 4}
    model = tf.Gemma3ForConditionalGeneration
    tokenizer = tokens(**names)  # which writes a [BOS], as the template does
    tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
        single="[BOS] $A", special_tokens=[("[BOS]", 1)]
    )
    save(folder, model, config, tokenizer, images, settings, image="<start_of_image>")
    template = folder / "chat_template.jinja"
    template.write_text("{{ bos_token }}" + template.read_text(encoding="utf-8"), encoding="utf-8")


def paligemma(folder: Path) -> None:
    vision = {**SIGLIP, "patch_size": 8}
    text = {**TEXT, "model_type": "gemma", "head_dim": 8, "vocab_size": 1300}  # it adds tokens for places
    config = tf.PaliGemmaConfig(
        vision_config=vision, text_config=text, image_token_index=4, vocab_size=1300, projection_dim=16
    )
    images = tf.SiglipImageProcessorPil(size=SIZE)
    images.image_seq_length = 4
    settings = {"processor_class": "PaliGemmaProcessor"}
    save(folder, tf.PaliGemmaForConditionalGeneration, config, tokens(image_token="<image>"), images, settings)


BERT = {**VISION, "vocab_size": 96, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1}
BERT |= {"eos_token_id": 2, "sep_token_id": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
QFORMER = {**BERT, "encoder_hidden_size": 16, "cross_attention_frequency": 1}
OPT = {"model_type": "opt", "hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
OPT |= {"vocab_size": 96, "max_position_embeddings": 128, "word_embed_proj_dim": 16, "pad_token_id": 0}
OPT |= {"bos_token_id": 1, "eos_token_id": 2}
BLIP_VISION = {**VISION, "image_size": 16, "patch_size": 8, "initializer_range": 0.02}


def blip(folder: Path) -> None:
    text = {**BERT, "encoder_hidden_size": 16, "projection_dim": 16}
    config = tf.BlipConfig(text_config=text, vision_config=BLIP_VISION, projection_dim=16, image_text_hidden_size=16)
    images = tf.BlipImageProcessorPil(size=SIZE)
    save(folder, tf.BlipForConditionalGeneration, config, tokens(), images, {"processor_class": "BlipProcessor"})


def blip2(folder: Path) -> None:
    config = tf.Blip2Config(
        vision_config=BLIP_VISION, qformer_config=QFORMER, text_config=OPT, num_query_tokens=4, image_token_index=4
    )
    images = tf.BlipImageProcessorPil(size=SIZE)
    settings = {"processor_class": "Blip2Processor", "num_query_tokens": 4}
    save(folder, tf.Blip2ForConditionalGeneration, config, tokens("<image>"), images, settings)


def instructblip(folder: Path) -> None:
    config = tf.InstructBlipConfig(
        vision_config=BLIP_VISION, qformer_config=QFORMER, text_config=OPT, num_query_tokens=4, image_token_index=4
    )
    images = tf.BlipImageProcessorPil(size=SIZE)
    settings = {"processor_class": "InstructBlipProcessor", "num_query_tokens": 4}
    save(folder, tf.InstructBlipForConditionalGeneration, config, tokens("<image>"), images, settings)
    tokens().save_pretrained(folder / "qformer_tokenizer")


def instructblipvideo(folder: Path) -> None:
    config = tf.InstructBlipVideoConfig(
        vision_config=BLIP_VISION, qformer_config=QFORMER, text_config=OPT, num_query_tokens=4, video_token_index=4
    )
    settings = {"processor_class": "InstructBlipVideoProcessor", "num_query_tokens": 4}
    video = {"video_processor_type": "InstructBlipVideoVideoProcessor", "size": SIZE}
    save(folder, tf.InstructBlipVideoForConditionalGeneration, config, tokens("<video>"), None, settings, video)
    tokens().save_pretrained(folder / "qformer_tokenizer")


def git(folder: Path, frames: int | None = None) -> None:
    vision = {**VISION, "image_size": 16, "patch_size": 8}
    config = tf.GitConfig(vision_config=vision, **BERT, num_image_with_embedding=frames)
    save(folder, tf.GitForCausalLM, config, tokens(), _clip_images(), {"processor_class": "GitProcessor"})


def git_video(folder: Path) -> None:
    git(folder, frames=6)


def florence2(folder: Path) -> None:
    vision = {"depths": [1, 1], "patch_size": [4, 3], "patch_stride": [4, 2], "patch_padding": [1, 1]}
    vision |= {"patch_prenorm": [False, True], "embed_dim": [8, 16], "num_heads": [2, 2], "num_groups": [2, 2]}
    vision |= {"window_size": 2, "projection_dim": 16, "drop_path_rate": 0.0}
    text = {"model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 96}
    text |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    text |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    config = tf.Florence2Config(text_config=text, vision_config=vision, image_token_id=4)
    images = _clip_images()
    images.image_seq_length = 5
    save(
        folder, tf.Florence2ForConditionalGeneration, config, tokens(image_token="<image>"), images,
        {"processor_class": "Florence2Processor"},
    )  # fmt: skip


def vision_encoder_decoder(folder: Path) -> None:
    vit = tf.ViTConfig(**VISION, image_size=16, patch_size=8)
    gpt2 = tf.GPT2Config(
        vocab_size=96, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2, pad_token_id=0
    )
    config = tf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(vit, gpt2)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, 0, 2
    save(folder, tf.VisionEncoderDecoderModel, config, tokens(), tf.ViTImageProcessorPil(size=SIZE))


FAMILIES = [
    smolvlm, idefics3, qwen2_vl, qwen2_5_vl, qwen3_vl, glm4v, llava, llava_next, video_llava, llava_next_video,
    llava_onevision, internvl, video_llama_3, gemma3, paligemma, blip, blip2, instructblip, instructblipvideo, git,
    git_video, florence2, vision_encoder_decoder,
]  # fmt: skip

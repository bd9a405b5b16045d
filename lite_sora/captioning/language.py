"""A causal language model, any that transformers can load, answers requests: it writes one caption from those of single
frames (`request.py`), and a long prompt from a short one (`upsampling.py`)."""

import warnings

from lite_sora.captioning.answers import Answer
from lite_sora.seeds import seed_of
from lite_sora.storage.hub import ModelError, load_pretrained


def load_language_model(name: str, device: str | None = None, trust_remote_code: bool = False) -> "LanguageModel":
    """The model in a folder, or of a hub id such as HuggingFaceTB/SmolLM2-135M-Instruct; only safetensors are read.
    Raises ModelError for what is not a causal language model, or cannot be found."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lite_sora.processes import default_device

    device = device or default_device()
    if trust_remote_code:
        warnings.warn(f"{name}: Python code that comes with the model may run on this machine", stacklevel=2)
    what, trust = "causal language model", {"trust_remote_code": trust_remote_code}
    how = {"use_safetensors": True, "dtype": torch.float32 if device == "cpu" else "auto"}  # few CPUs compute in bf16
    model, found = load_pretrained(AutoModelForCausalLM, name, what, output_loading_info=True, **how, **trust)
    tokenizer = load_pretrained(AutoTokenizer, name, f"{what}'s tokenizer", padding_side="left", **trust)
    kind = ", ".join(model.config.architectures or [model.config.model_type])
    if "MaskedLM" in kind:
        raise ModelError(f"{name}: is a {kind}, which fills gaps and does not write; name a …ForCausalLM")
    if missing := sorted(found["missing_keys"]):
        raise ModelError(f"{name}: not a whole {kind}: {missing[0]} is missing")
    return LanguageModel(name, model.to(device).eval(), tokenizer)


class LanguageModel:
    """A model of transformers and its tokenizer."""

    def __init__(self, name: str, model, tokenizer):
        self.name, self.model, self.tokenizer = name, model, tokenizer
        if tokenizer.pad_token is None:  # any token serves: nothing attends to it
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        settings = model.generation_config
        ends = settings.eos_token_id if isinstance(settings.eos_token_id, list) else [settings.eos_token_id]
        self.ends = sorted({end for end in [*ends, tokenizer.eos_token_id] if end is not None})
        settings.temperature = settings.top_p = settings.top_k = None  # `write` samples by itself

    def write(
        self, requests: list[str], max_tokens: int = 256, temperature: float = 0.0, seed: int = 0
    ) -> list[Answer]:
        """An answer to each request, all in one batch: the next turn of a chat if the tokenizer has a chat template,
        else the text that follows. temperature 0 takes the likeliest token each time; above 0 tokens are sampled, by
        seed and request alone. Raises ModelError for a request that is too long for the model."""
        if not requests:
            return []
        import torch
        from transformers import LogitsProcessorList

        tokens = self._tokens(requests)
        prompt = tokens["input_ids"].shape[1]
        most = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if most and prompt + max_tokens > most:
            raise ModelError(
                f"{self.name}: reads and writes {most} tokens, but the longest request has {prompt} and the "
                f"answer may have {max_tokens}; choose a lower --max-tokens, or another model"
            )
        noise = [_sample(temperature, [seed_of(seed, request) for request in requests])] if temperature else []
        with torch.inference_mode():
            ids = self.model.generate(  # (B, prompt + new)
                **tokens,
                max_new_tokens=max_tokens,
                do_sample=False,
                eos_token_id=self.ends or None,
                pad_token_id=self.tokenizer.pad_token_id,
                logits_processor=LogitsProcessorList(noise),
            )
        return [self._answer(row) for row in ids[:, prompt:].tolist()]

    def _tokens(self, requests: list[str]) -> dict:
        """input_ids and attention_mask (B, L), padded on the left."""
        chat = self.tokenizer.chat_template is not None
        if chat:
            chats = [[{"role": "user", "content": request}] for request in requests]
            how = {"add_generation_prompt": True, "enable_thinking": False}  # an option of some templates (Qwen3)
            requests = self.tokenizer.apply_chat_template(chats, tokenize=False, **how)
        tokens = self.tokenizer(requests, padding=True, return_tensors="pt", add_special_tokens=not chat)
        return {name: tokens[name].to(self.model.device) for name in ("input_ids", "attention_mask")}

    def _answer(self, row: list[int]) -> Answer:
        length = next((index for index, token in enumerate(row) if token in self.ends), len(row))
        return Answer(self.tokenizer.decode(row[:length], skip_special_tokens=True).strip(), length < len(row))


def _sample(temperature: float, seeds: list[int]):
    """A logits processor that adds Gumbel noise, so that the likeliest token is a sample (the Gumbel-max trick). Each
    row has its own generator, so that its answer does not depend on the rest of the batch."""
    import torch

    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def add_noise(_, logits):  # (B, L), (B, V)
        rows = [torch.empty(logits.shape[1]).exponential_(generator=generator) for generator in generators]
        return logits / temperature - torch.stack(rows).log().to(logits.device)

    return add_noise

"""TextToCodes: text encoder, code transformer and VQ autoencoder in one object: save, load and generate. Its outer face
is that of `pipeline.TextToVideo`, so that diffusion and autoregression are used and judged alike.

model = TextToCodes.from_pretrained("runs/prior-toy")
video = model.generate(["a red circle moving right"])  # (1, 3, T, H, W) in [-1, 1]
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from lite_sora.autoencoders.saved import TrainedAutoencoder
from lite_sora.autoencoders.vq import VQAutoencoder
from lite_sora.prior.sampling import draw, guided
from lite_sora.prior.transformer import CodeTransformer, CodeTransformerConfig
from lite_sora.seeds import seed_of
from lite_sora.storage.runs import (
    INSIDE,
    CheckpointError,
    described_by,
    load_weights,
    open_run,
    read_tokenizer,
    write_run,
)
from lite_sora.text.encoder import TextEncoder

HOW_TO_TRAIN_ONE = "train one with `python train.py autoencoder --kind vq`"


@dataclass
class TextToCodesConfig:
    """Everything but the weights and the vocabulary; saved as config.json."""

    kind: str = "prior"
    transformer: CodeTransformerConfig = field(default_factory=CodeTransformerConfig)
    text_depth: int = 0
    text_length: int = 32
    # what generation does by default: the size that the model was trained at, and how to sample
    frames: int = 8
    height: int = 32
    width: int = 32
    fps: float = 8.0
    guidance: float = 1.5
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = 0.9
    training: dict = field(default_factory=dict)  # the settings of the run that it comes from


class TextToCodes(nn.Module):
    """The autoencoder is not trained; a copy of it is saved in the run's folder, since codes mean
    nothing without it."""

    def __init__(self, config: TextToCodesConfig, tokenizer: Tokenizer, autoencoder: TrainedAutoencoder):
        super().__init__()
        self.config, self.autoencoder = config, autoencoder
        width = config.transformer.text_width
        self.text = TextEncoder(tokenizer, width, config.text_depth, config.transformer.heads, config.text_length)
        self.transformer = CodeTransformer(config.transformer)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    # ------------------------------------------------------------ video ↔ codes

    def decode(self, codes: Tensor) -> Tensor:
        """codes (B, T', H', W') → video (B, 3, T, H, W) in about [-1, 1]."""
        codec = self.autoencoder.model.to(codes.device)
        return codec.decode_codes(codes) / codec.config.amplitude

    # ------------------------------------------------------------ training

    def forward(self, codes: Tensor, ids: Tensor) -> Tensor:
        """The cross-entropy of each sample, (B,), in nats per code: minus its log-likelihood, given its caption, over
        its number of codes. codes (B, T', H', W'), token ids (B, L)."""
        logits = self.transformer(codes, self.text(ids))  # (B, N, codes)
        return F.cross_entropy(logits.float().transpose(1, 2), codes.flatten(1), reduction="none").mean(1)

    # ------------------------------------------------------------ generation

    @torch.no_grad()
    def generate(
        self,
        prompts: list[str],
        negative: str = "",
        seeds: list[int] | None = None,
        frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        guidance: float | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        observe: Callable[[Tensor], None] | None = None,
    ) -> Tensor:
        """Videos (B, 3, T, H, W) in [-1, 1] for B prompts; what is None is as the model was trained.

        temperature, top_k, top_p: as in `prior/sampling.py`. A seed belongs to a prompt: the same prompt and seed give
        the same video, whatever else is in the batch. `observe` is told the codes so far, (B, n), after each of them.
        """
        config = self.config
        sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        sampling = {name: getattr(config, name) if value is None else value for name, value in sampling.items()}
        check_sampling(**sampling)
        guidance = config.guidance if guidance is None else guidance
        size = frames or config.frames, height or config.height, width or config.width
        grid = self.autoencoder.latent_shape(*size)[1:]  # (T', H', W')
        count = grid[0] * grid[1] * grid[2]
        seeds = seeds if seeds is not None else [0] * len(prompts)
        # chance is drawn on the CPU, so that a seed means the same on every device
        draws = [torch.rand(count, generator=torch.Generator().manual_seed(seed_of(seed, "codes"))) for seed in seeds]
        chance = torch.stack(draws).to(self.device)  # (B, N)

        conditions = prompts if guidance == 1 else [*prompts, *[negative] * len(prompts)]
        memory = self.transformer.read(self.text(self.text.tokenize(conditions).to(self.device)))
        codes = chance.new_empty(len(prompts), 0, dtype=torch.long)  # (B, as many as are drawn)
        for place in range(count):
            last = codes[:, -1:].repeat(len(conditions) // len(prompts), 1)  # (B, 1), at first (B, 0)
            logits = self.transformer.advance(memory, last, grid, start=place == 0)[:, -1].float()
            if guidance != 1:
                logits = guided(*logits.chunk(2), guidance)
            codes = torch.cat([codes, draw(logits, chance[:, place], **sampling)[:, None]], dim=1)
            if observe:
                observe(codes)
        return self.decode(codes.unflatten(1, grid)).clamp(-1, 1)

    # ------------------------------------------------------------ saving and loading

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes a run folder with autoencoder/ in it, each file whole or not at all."""
        folder = Path(folder)
        self.autoencoder.save_pretrained(folder / INSIDE)
        write_run(folder, asdict(self.config), self.state_dict(), self.text.tokenizer)

    @classmethod
    def from_pretrained(cls, folder: Path | str, device: torch.device | str = "cpu") -> "TextToCodes":
        """Loads a run folder, or a model of the Hugging Face hub by its id. Raises CheckpointError."""
        folder, settings = open_run(folder)
        if settings.get("kind") != "prior":
            raise CheckpointError(f"{folder}/config.json does not describe a prior (`python train.py prior`)")
        with described_by(folder, "a prior"):
            config = TextToCodesConfig(**settings | {"transformer": CodeTransformerConfig(**settings["transformer"])})
            check_sampling(config.temperature, config.top_k, config.top_p)
            model = cls(config, read_tokenizer(folder), open_vq(folder / INSIDE))
        if (known := model.autoencoder.model.quantizer.codes) != config.transformer.codes:
            raise CheckpointError(f"{folder}: a prior over {config.transformer.codes} codes, an autoencoder of {known}")
        load_weights(model, folder)
        return model.to(device).eval()


def open_vq(folder: Path) -> TrainedAutoencoder:
    """The autoencoder in a run folder. Raises CheckpointError for a folder that has none, or one without codes."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: there is no such folder of an autoencoder; {HOW_TO_TRAIN_ONE}")
    try:
        autoencoder = TrainedAutoencoder(folder)
    except ValueError as error:
        raise CheckpointError(f"{error}; a prior needs a VQ autoencoder: {HOW_TO_TRAIN_ONE}") from None
    if not isinstance(autoencoder.model, VQAutoencoder):
        raise CheckpointError(
            f"{folder} holds an autoencoder without codes, and a prior needs them; {HOW_TO_TRAIN_ONE}"
        )
    return autoencoder


def check_sampling(temperature: float, top_k: int | None, top_p: float | None) -> None:
    """Raises ValueError for a number that means nothing."""
    if temperature < 0:
        raise ValueError(f"temperature must be 0 (the most likely code) or above, not {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top-k must be at least 1, not {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top-p lies above 0 and up to 1; not {top_p}")

"""Small models that several tests need."""

import numpy as np
import torch

from lite_sora.autoencoders.saved import TrainedAutoencoder, save_folder
from lite_sora.autoencoders.vq import VQAutoencoder, VQConfig
from lite_sora.data.loading import to_model_range
from lite_sora.prior.pipeline import TextToCodes, TextToCodesConfig
from lite_sora.prior.transformer import CodeTransformer, CodeTransformerConfig
from lite_sora.text.encoder import build_tokenizer
from lite_sora.toy.world import draw, random_scene


def tiny_transformer(codes: int = 10) -> CodeTransformer:
    torch.manual_seed(0)
    model = CodeTransformer(CodeTransformerConfig(codes, width=48, depth=2, heads=2, text_width=16))
    torch.nn.init.normal_(model.out.weight)  # it starts at zero, which would hide everything
    return model.eval()


def save_vq(folder) -> None:
    """An untrained autoencoder of 10 codes, of which each is 2 × 4 × 4 pixels, trained (it says) on 4 × 16 × 16. The
    latents of toy clips have variance 1, and codes lie among them: neither clips nor videos are all alike."""
    torch.manual_seed(0)
    model = VQAutoencoder(VQConfig((2, 4, 4), channels=8, blocks=1, codes=10, code_width=4)).eval()
    clips = np.stack([draw(random_scene(np.random.default_rng(seed)), 4, 16) for seed in range(16)])
    with torch.no_grad():
        latents = model.encoder(to_model_range(torch.from_numpy(clips).movedim(-1, 1))).movedim(1, -1).flatten(0, 3)
        mean, spread = latents.mean(0), latents.std(0)  # (4,)
        model.encoder[-1].weight /= spread.view(-1, 1, 1, 1, 1)
        model.encoder[-1].bias.sub_(mean).div_(spread)
    model.quantizer.start_from((latents - mean) / spread, torch.Generator().manual_seed(0))
    sizes = {"frames": 4, "height": 16, "width": 16, "fps": 8.0}
    save_folder(model, folder, sizes)


def tiny_model(folder) -> TextToCodes:
    """A prior that knows nothing, over the codes of the autoencoder in `folder`: 2 × 4 × 4 of them in a video."""
    transformer = tiny_transformer()
    config = TextToCodesConfig(transformer=transformer.config, frames=4, height=16, width=16)
    tokenizer = build_tokenizer(["a red circle moving right", "a blue square"])
    model = TextToCodes(config, tokenizer, TrainedAutoencoder(folder)).eval()
    model.transformer.load_state_dict(transformer.state_dict())
    return model

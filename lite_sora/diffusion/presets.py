"""Published combinations of path, prediction, weighting and time density, by name: the choices of --objective."""

from lite_sora.diffusion.objective import Objective

PRESETS = {
    # The default run's: SiT's path and velocity loss for a network that outputs the clean video, at noisier times
    "toy": Objective("linear", "x0", "velocity", "logit-normal", shift=6.0),
    "sit": Objective("linear", "velocity", "none", "uniform"),  # 2401.08740
    "sd3": Objective("linear", "velocity", "none", "logit-normal"),  # 2403.03206
    "jit": Objective("linear", "x0", "velocity", "jit"),  # 2511.13720
    "ddpm": Objective("vp", "noise", "none", "uniform"),  # DDPM, DiT, U-ViT
    "v": Objective("gvp", "v", "none", "uniform"),  # 2202.00512: alpha = cos(pi t / 2)
    "min-snr": Objective("vp", "noise", "min-snr", "uniform"),  # 2303.09556
    "edm": Objective("linear", "edm", "edm", "edm"),  # 2206.00364; the path only rescales its x + s noise
}

"""Prompts → videos: python generate.py "a red circle moving right" [--flags].

Writes an mp4 and a GIF for each (a PNG where a video is one frame), and made.json, which says how each was made.
"""

import argparse
import math
import re
import sys
import warnings
from pathlib import Path

from tqdm import tqdm

from lite_sora.captioning.language import load_language_model
from lite_sora.captioning.upsampling import training_captions, upsample, upsample_toy
from lite_sora.commands import command
from lite_sora.continuation import Maker, add_flags, check_flags
from lite_sora.data.loading import to_frames
from lite_sora.data.made import save_made
from lite_sora.data.preview import enlarge
from lite_sora.diffusion.choices import GRIDS, SAMPLERS
from lite_sora.diffusion.sde import DIFFUSIONS
from lite_sora.load import VideoModel, newest_run, open_model, options_of, size_text
from lite_sora.processes import check_device
from lite_sora.published.prompts import ClassLabels, PromptError
from lite_sora.storage.files import make_folder
from lite_sora.text.signals import parse_signals
from lite_sora.text.unknown import warn_of_unknown_words

SAMPLING = ("frames", "height", "width", "steps", "sampler", "grid", "diffusion", "guidance")
SAMPLING += ("guidance_interval", "guidance_rescale", "temperature", "top_k", "top_p", "signals")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    flag, as_trained = parser.add_argument, "(default: as the run's config.json says)"
    flag("prompts", nargs="*", metavar="PROMPT", help="what the video should show")
    flag("--file", type=Path, help="a text file of prompts, one a line")
    flag("--run", help="run folder or hub id (default: the newest run in runs/)")
    flag("--out", type=Path, default=Path("out"), help="folder for the videos (default: out)")
    flag("--seed", type=int, default=0, help="belongs to a prompt: the same prompt and seed, the same video")
    flag("--negative", default="", help="what the video should not show")
    flag("--signals", nargs="+", metavar="NAME=NUMBER", help="what else the model is conditioned on, such as speed=0.5")
    flag("--upsample", metavar="MODEL", help="rewrite prompts in the style of the training captions: toy or a model")
    flag("--trust-remote-code", action="store_true", help="let the model of --upsample run Python code of its own")
    flag("--frames", type=int, help=as_trained)
    flag("--height", type=int, help=as_trained)
    flag("--width", type=int, help=as_trained)
    flag("--fps", type=float, help=as_trained)
    add_flags(flag)
    flag("--steps", type=int, help=as_trained)
    flag("--sampler", choices=list(SAMPLERS), help=as_trained)
    flag("--grid", choices=list(GRIDS), help=f"the times that the sampler stops at {as_trained}")
    flag("--diffusion", choices=list(DIFFUSIONS), help="how much noise euler-maruyama and heun-sde add and remove")
    flag("--guidance", type=float, help=as_trained)
    interval = "guide only at times between these, 0 data, 1 noise (2404.07724)"
    flag("--guidance-interval", type=float, nargs=2, metavar=("LOW", "HIGH"), help=interval)
    flag("--guidance-rescale", type=float, help="0 to 1: against colours that guidance burns (2305.08891)")
    flag("--temperature", type=float, help="of a prior: 0 for the most likely code, 1 for its odds")
    flag("--top-k", type=int, help="of a prior: draw from the k most likely codes only")
    flag("--top-p", type=float, help="of a prior: draw from the fewest codes of this probability together (1904.09751)")
    flag("--batch", type=int, default=8, help="videos at a time")
    flag("--upscale", type=int, default=256, help="enlarge videos to at least this many pixels; 1 for as they are")
    flag("--device", help="cuda, mps or cpu (default: the first of them that is there)")
    options = parser.parse_args()
    if options.file:
        if not options.file.is_file():
            parser.error(f"--file {options.file}: there is no such file")
        lines = options.file.read_text(encoding="utf-8").splitlines()
        options.prompts += [line.strip() for line in lines if line.strip()]
    if not options.prompts:
        parser.error('no prompt; try: python generate.py "a red circle moving right"')
    for name in ("frames", "height", "width", "fps", "steps", "batch", "upscale"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            parser.error(f"--{name} must be above 0, not {value}")
    for name in ("guidance", "temperature"):
        if (value := getattr(options, name)) is not None and not math.isfinite(value):
            parser.error(f"--{name} must be a number, not {value}")
    if wrong := check_flags(options):
        parser.error(wrong)
    low, high = options.guidance_interval or (0, 1)
    if not 0 <= low <= high <= 1 or not 0 <= (options.guidance_rescale or 0) <= 1:
        parser.error("--guidance-interval LOW HIGH and --guidance-rescale lie between 0 and 1, with LOW <= HIGH")
    return options


def upsampled(options: argparse.Namespace, model: VideoModel) -> list[str]:
    """The captions that the model is conditioned on; they are printed where they are not the user's own prompts."""
    if not options.upsample:
        return options.prompts
    if isinstance(model.text, ClassLabels):
        raise ValueError("--upsample is for models that read captions; this one takes class ids")
    if options.upsample == "toy":
        captions = [upsample_toy(prompt, options.seed) for prompt in options.prompts]
    else:
        writer = load_language_model(options.upsample, options.device, options.trust_remote_code)
        examples, captions = training_captions(model.config.training), []
        for first in range(0, len(options.prompts), options.batch):
            captions += upsample(writer, options.prompts[first : first + options.batch], examples, options.seed)
    for prompt, caption in zip(options.prompts, captions, strict=True):
        print(f"{prompt!r} upsampled: {caption!r}")
    return captions


def warn_of_other_sizes(config, *asked: int | None) -> None:
    """Warns of a number of frames, height or width that the model was not trained at."""
    trained, asked = size_text(config), size_text(config, *asked)
    if asked != trained:
        warnings.warn(f"trained on {trained}, asked for {asked}: expect repeated or broken objects", stacklevel=2)


@command("generate.py", "stopped; videos that are finished stay", mendable=ValueError)
def main() -> None:
    options = parse()
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    options.signals = parse_signals(options.signals)
    run = options.run or newest_run()
    model = open_model(run, check_device(options.device))
    sampling = options_of(model, **{name: getattr(options, name) for name in SAMPLING})
    maker = Maker(model, options)
    warn_of_other_sizes(model.config, options.frames, options.height, options.width)
    captions = upsampled(options, model)
    warn_of_unknown_words(model.text, [*captions, options.negative])
    make_folder(options.out, "--out")
    fps = options.fps or model.config.fps
    settings = {name: getattr(model.config, name, None) for name in SAMPLING} | sampling
    settings |= {"run": str(run), "seed": options.seed, "negative": options.negative} | maker.told
    settings |= {"fps": fps, "upscale": options.upscale}
    for first in tqdm(range(0, len(captions), options.batch), desc="generating", unit="batch"):
        part = slice(first, first + options.batch)
        prompts, told = options.prompts[part], captions[part]
        try:
            videos = maker.make(told, options.negative, [options.seed] * len(told), **sampling)
        except PromptError as error:
            raise PromptError(f"{run}: {error}; choose another run with --run") from None
        for prompt, caption, frames in zip(prompts, told, to_frames(videos), strict=True):
            name = re.sub(r"\W+", "-", prompt.lower()).strip("-")[:80] or "video"
            how = {"prompt": prompt, "caption": caption} | settings
            frames = enlarge(frames, options.upscale)
            written = save_made(options.out, f"{name}-seed{options.seed}", frames, fps, how)
            tqdm.write(f"{prompt!r} → {written}")


if __name__ == "__main__":
    main()

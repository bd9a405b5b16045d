"""Prompts → videos: python generate.py "a red circle moving right" [--flags].

Writes an mp4 and a GIF for each; a PNG where a video is one frame.
"""

import argparse
import math
import re
import sys
import warnings
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from lite_sora.captioning.language import load_language_model
from lite_sora.captioning.upsampling import training_captions, upsample, upsample_toy
from lite_sora.commands import command
from lite_sora.data.loading import to_frames
from lite_sora.data.preview import enlarge
from lite_sora.data.video import write_gif, write_video
from lite_sora.diffusion.choices import GRIDS, SAMPLERS
from lite_sora.diffusion.sde import DIFFUSIONS
from lite_sora.load import VideoModel, load_model, makes_videos, options_of
from lite_sora.processes import check_device
from lite_sora.published.prompts import ClassLabels
from lite_sora.storage.files import make_folder
from lite_sora.storage.runs import CheckpointError
from lite_sora.text.unknown import warn_of_unknown_words

SAMPLING = ("frames", "height", "width", "steps", "sampler", "grid", "diffusion", "guidance")
SAMPLING += ("guidance_interval", "guidance_rescale", "temperature", "top_k", "top_p")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prompts", nargs="*", metavar="PROMPT", help="what the video should show")
    parser.add_argument("--file", type=Path, help="a text file of prompts, one a line")
    parser.add_argument("--run", help="run folder or hub id (default: the newest run in runs/)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for the videos (default: out)")
    parser.add_argument(
        "--seed", type=int, default=0, help="belongs to a prompt: the same prompt and seed, the same video"
    )
    parser.add_argument("--negative", default="", help="what the video should not show")
    parser.add_argument(
        "--upsample",
        metavar="MODEL",
        help="rewrite the prompts in the style of the training captions: the folder or hub id of a language model, or "
        "toy, the toy world's rules",
    )
    parser.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="let the model of --upsample run Python code that comes with it",
    )
    as_trained = "(default: as the run's config.json says)"
    for flag, kind in {
        "frames": int,
        "height": int,
        "width": int,
        "fps": float,
        "steps": int,
        "guidance": float,
    }.items():
        parser.add_argument(f"--{flag}", type=kind, help=as_trained)
    parser.add_argument("--sampler", choices=list(SAMPLERS), help=as_trained)
    parser.add_argument("--grid", choices=list(GRIDS), help=f"the times that the sampler stops at {as_trained}")
    parser.add_argument(
        "--diffusion", choices=list(DIFFUSIONS), help="how much noise euler-maruyama and heun-sde add and remove"
    )
    parser.add_argument(
        "--guidance-interval",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="guide only at times between these, 0 data, 1 noise (2404.07724)",
    )
    parser.add_argument(
        "--guidance-rescale", type=float, help="0 to 1: against colours that guidance burns (2305.08891)"
    )
    parser.add_argument("--temperature", type=float, help="of a prior: 0 for the most likely code, 1 for its odds")
    parser.add_argument("--top-k", type=int, help="of a prior: draw from the k most likely codes only")
    parser.add_argument(
        "--top-p", type=float, help="of a prior: draw from the fewest codes with this probability together (1904.09751)"
    )
    parser.add_argument("--batch", type=int, default=8, help="videos at a time")
    parser.add_argument(
        "--upscale", type=int, default=256, help="enlarge videos to at least this many pixels; 1 for as they are"
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the first of them that is there)")
    options = parser.parse_args()
    if options.file:
        if not options.file.is_file():
            parser.error(f"--file {options.file}: there is no such file")
        options.prompts += [
            line.strip() for line in options.file.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
    if not options.prompts:
        parser.error('no prompt; try: python generate.py "a red circle moving right"')
    for flag in ("frames", "height", "width", "fps", "steps", "batch", "upscale"):
        value = getattr(options, flag)
        if value is not None and value <= 0:
            parser.error(f"--{flag} must be above 0, not {value}")
    for flag in ("guidance", "temperature"):
        if (value := getattr(options, flag)) is not None and not math.isfinite(value):
            parser.error(f"--{flag} must be a number, not {value}")
    low, high = options.guidance_interval or (0, 1)
    if not 0 <= low <= high <= 1 or not 0 <= (options.guidance_rescale or 0) <= 1:
        parser.error("--guidance-interval LOW HIGH and --guidance-rescale lie between 0 and 1, with LOW <= HIGH")
    return options


def newest_run() -> Path:
    """The run in runs/ whose weights are the newest, of those that make videos."""
    weights = sorted(Path("runs").glob("*/model.safetensors"), key=lambda path: path.stat().st_mtime)
    runs = [path.parent for path in weights if makes_videos(path.parent)]
    if not runs:
        raise CheckpointError("there is no run in runs/ yet; train one with `python train.py`, or name one with --run")
    return runs[-1]


def free_name(prompt: str, seed: int, taken: set[str]) -> str:
    """A file name that tells the prompt and the seed; prompts that shorten to the same name get a number."""
    name = re.sub(r"\W+", "-", prompt.lower()).strip("-")[:80] or "video"
    name, number = f"{name}-seed{seed}", 2
    unique = name
    while unique in taken:
        unique, number = f"{name}-{number}", number + 1
    taken.add(unique)
    return unique


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


@command("generate.py", "stopped; videos that are finished stay", mendable=ValueError)
def main() -> None:
    options = parse()
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    run = options.run or newest_run()
    model = load_model(run, check_device(options.device))
    sampling = options_of(model, **{name: getattr(options, name) for name in SAMPLING})
    captions = upsampled(options, model)
    warn_of_unknown_words(model.text, [*captions, options.negative])
    make_folder(options.out, "--out")
    taken: set[str] = set()
    for first in tqdm(range(0, len(options.prompts), options.batch), desc=f"generating with {run}", unit="batch"):
        prompts = options.prompts[first : first + options.batch]
        part = captions[first : first + options.batch]
        videos = model.generate(part, options.negative, [options.seed] * len(part), **sampling)
        for prompt, frames in zip(prompts, to_frames(videos), strict=True):
            name, fps = free_name(prompt, options.seed, taken), options.fps or model.config.fps
            frames = enlarge(frames, options.upscale)
            if len(frames) == 1:
                Image.fromarray(frames[0]).save(options.out / f"{name}.png")
                tqdm.write(f"{prompt!r} → {options.out / name}.png")
                continue
            write_video(options.out / f"{name}.mp4", frames, fps)
            write_gif(options.out / f"{name}.gif", frames, fps)
            tqdm.write(f"{prompt!r} → {options.out / name}.mp4 and .gif")


if __name__ == "__main__":
    main()

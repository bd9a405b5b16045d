"""Clips → captions, by any vision-language model that transformers can load.

    python -m lite_sora.captioning MANIFEST --out captioned.jsonl --model HuggingFaceTB/SmolVLM2-256M-Video-Instruct

A model that takes video sees a clip's frames as one video. One that takes single pictures describes each frame, and the
language model of --summarise writes one caption from these. After a crash or Ctrl-C, run the same command again: no
clip is captioned twice. `torchrun --nproc-per-node N -m lite_sora.captioning …` divides the clips among N GPUs.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from lite_sora.captioning.caption import caption_manifest, make_answers_folder
from lite_sora.captioning.frames import SAMPLINGS, FrameChoice
from lite_sora.captioning.output import Output
from lite_sora.captioning.request import Request, read_prompt
from lite_sora.commands import command


@command("captioning", "stopped; the same command resumes here")
def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m lite_sora.captioning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag("manifest", metavar="MANIFEST", type=Path, help="JSONL of clips")
    flag("--out", required=True, type=Path, help="JSONL of the captioned clips, in the same folder")
    flag("--model", required=True, help="folder or Hugging Face name of the captioner")
    flag("--frames", type=int, default=8, help="frames that the captioner sees of a clip (default: 8)")
    flag("--sampling", choices=list(SAMPLINGS), default="uniform", help="which (default: uniform)")
    flag("--size", type=int, default=384, help="largest length of a frame's longer side (default: 384)")
    flag("--prompt", help="a name in captioning/prompts, or a text file (default: video, or image with --summarise)")
    flag("--language", choices=["en", "zh"], default="en", help="language of prompts and captions")
    flag("--summarise", metavar="MODEL", help="language model that joins captions of frames")
    flag("--max-tokens", type=int, default=128, help="length of an answer (default: 128)")
    flag("--retries", type=int, default=2, help="attempts after an unusable answer (default: 2)")
    flag("--batch", type=int, default=8, help="clips at a time (default: 8)")
    cores = max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    flag("--workers", type=int, default=cores, help="processes that decode (default: one for each core)")
    flag("--device", help="default: cuda if there is one, then mps, then cpu")
    flag("--trust-remote-code", action="store_true", help="run Python code that comes with the models")
    flag("--allow-outside", action="store_true", help="let the manifest name videos outside its folder")
    options = parser.parse_args()
    for name, least in {"frames": 1, "size": 16, "max-tokens": 1, "retries": 0, "batch": 1, "workers": 0}.items():
        if getattr(options, name.replace("-", "_")) < least:
            parser.error(f"--{name} must be {least} or more")
    try:
        usual = "image" if options.summarise or options.frames == 1 else "video"
        prompt = read_prompt(options.prompt or usual, options.language)
    except ValueError as error:
        parser.error(str(error))
    try:
        folder = make_answers_folder(options.manifest, options.out)  # before models are loaded, which takes long
        output = caption_manifest(
            _load(options, prompt),
            FrameChoice(options.frames, options.sampling, options.size),
            *(options.manifest, options.out, options.batch, options.workers, options.allow_outside),
        )
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        raise SystemExit("captioning: out of memory; run the same command with a smaller --batch or --size") from None
    if output:
        _print(output, options.out, folder)


def _load(options: argparse.Namespace, prompt: str) -> Request:
    """Loads the models. Here, since they need torch, which the processes that decode do not."""
    from lite_sora.captioning.language import load_language_model
    from lite_sora.captioning.models import load_captioner
    from lite_sora.processes import check_device

    how = check_device(options.device), options.trust_remote_code
    request = Request(
        load_captioner(options.model, *how), prompt, options.language, options.max_tokens, options.retries
    )
    if not options.summarise:
        return request
    template = read_prompt("summary", options.language)
    return replace(request, summariser=load_language_model(options.summarise, *how), template=template)


def _print(output: Output, out: Path, folder: Path) -> None:
    for before, after in output.examples:
        print(f"{after.id}: {before.caption or '(no caption)'}\n    → {after.caption}")
    for reason in output.reasons:
        print(f"skipped {reason}")
    print(f"{output.captioned:,} clips captioned, {output.rate:.2f} a second")
    if output.marked:
        kinds = ", ".join(f"{mark} {count:,}" for mark, count in output.marked.most_common())
        print(f"{output.marked.total():,} marks ({kinds}); {output.kept_old:,} clips keep their old caption")
    print(f"{output.skipped:,} skipped" + (f", listed in {folder / 'skipped.txt'}" if output.skipped else ""))
    print(f"{out}, and {folder / 'examples.png'}")


if __name__ == "__main__":
    main()

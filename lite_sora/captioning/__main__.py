"""Clips → captions, by any vision-language model that transformers can load.

    python -m lite_sora.captioning MANIFEST --out captioned.jsonl --model HuggingFaceTB/SmolVLM2-256M-Video-Instruct

A model that takes video sees a clip's frames as one. One that takes single pictures describes each frame, and the
language model of --summarise makes one caption of them. After a crash or Ctrl-C, run the same command again: what was
captioned is not captioned again. `torchrun --nproc-per-node N -m lite_sora.captioning …` shares the clips among N GPUs.
"""

import argparse
import os
from pathlib import Path

from lite_sora.captioning.answers import ModelError
from lite_sora.captioning.asking import Asking
from lite_sora.captioning.frames import SAMPLINGS, Looking
from lite_sora.captioning.outcome import Outcome
from lite_sora.captioning.run import caption_manifest, check_paths
from lite_sora.data.clip import ManifestError


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m lite_sora.captioning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", metavar="MANIFEST", type=Path, help="JSONL of clips")
    parser.add_argument("--out", required=True, type=Path, help="JSONL of the captioned clips, in the same folder")
    parser.add_argument("--model", required=True, help="folder or Hugging Face name of the captioner")
    parser.add_argument("--frames", type=int, default=8, help="that the captioner sees of a clip (default: 8)")
    parser.add_argument("--sampling", choices=list(SAMPLINGS), default="uniform", help="which (default: uniform)")
    parser.add_argument("--size", type=int, default=384, help="pixels of a frame's longer side, at most (default: 384)")
    parser.add_argument(
        "--prompt",
        help="name of a prompt in captioning/prompts, or a text file (default: video, or image with --summarise)",
    )
    parser.add_argument("--language", choices=["en", "zh"], default="en", help="of prompts and captions (default: en)")
    parser.add_argument("--summarise", metavar="MODEL", help="language model that makes one caption of those of frames")
    parser.add_argument("--max-tokens", type=int, default=128, help="of an answer (default: 128)")
    parser.add_argument("--retries", type=int, default=2, help="of an answer that is no caption (default: 2)")
    parser.add_argument("--batch", type=int, default=8, help="clips at a time (default: 8)")
    processes = max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    parser.add_argument(
        "--workers", type=int, default=processes, help="processes that decode (default: one for each core)"
    )
    parser.add_argument("--device", help="default: cuda where there is one, then mps, then cpu")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the models")
    parser.add_argument("--allow-outside", action="store_true", help="let the manifest name videos outside its folder")
    options = parser.parse_args()
    for name, least in {"frames": 1, "size": 16, "max-tokens": 1, "retries": 0, "batch": 1, "workers": 0}.items():
        if getattr(options, name.replace("-", "_")) < least:
            parser.error(f"--{name} must be {least} or more")
    try:
        check_paths(options.manifest, options.out)  # before models are loaded, which takes long
        asking, looking = _asking(options, parser), Looking(options.frames, options.sampling, options.size)
        outcome = caption_manifest(
            asking, looking, options.manifest, options.out, options.batch, options.workers, options.allow_outside
        )
    except (ManifestError, ModelError) as error:
        raise SystemExit(f"error: {error}") from None
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        raise SystemExit("error: out of memory; run the same command with a smaller --batch or --size") from None
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; the same command goes on from here") from None
    if outcome:
        _tell(outcome, options.out)


def _asking(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Asking:
    """The models and their prompts."""
    from lite_sora.captioning.language import load_language_model
    from lite_sora.captioning.models import load_captioner
    from lite_sora.captioning.prompts import read_prompt
    from lite_sora.processes import default_device

    try:
        one_picture = options.summarise or options.frames == 1
        prompt = read_prompt(options.prompt or ("image" if one_picture else "video"), options.language)
        template = read_prompt("summary", options.language) if options.summarise else ""
    except ValueError as error:
        parser.error(str(error))
    device = options.device or default_device()
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    captioner = load_captioner(options.model, device, options.trust_remote_code)
    summariser = None
    if options.summarise:
        summariser = load_language_model(options.summarise, device, options.trust_remote_code)
    return Asking(captioner, prompt, options.language, options.max_tokens, options.retries, summariser, template)


def _tell(outcome: Outcome, out: Path) -> None:
    for before, after in outcome.examples:
        print(f"{after.id}: {before.caption or '(no caption)'}\n    → {after.caption}")
    for reason in outcome.reasons:
        print(f"skipped {reason}")
    beside = out.with_name(f"{out.stem}-captions")
    print(f"{outcome.captioned:,} clips captioned, {outcome.rate:.2f} a second")
    if outcome.marked:
        kinds = ", ".join(f"{mark} {count:,}" for mark, count in outcome.marked.most_common())
        print(f"{outcome.marked.total():,} marks ({kinds}); {outcome.kept_old:,} clips keep their old caption")
    print(f"{outcome.skipped:,} skipped" + (f", listed in {beside / 'skipped.txt'}" if outcome.skipped else ""))
    print(f"{out}, and {beside / 'examples.png'}")


if __name__ == "__main__":
    main()

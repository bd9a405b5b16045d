"""Clips → captions, by any vision-language model that transformers can load.

    python -m lite_sora.captioning MANIFEST --out captioned.jsonl --model HuggingFaceTB/SmolVLM2-256M-Video-Instruct

A model that takes video sees a clip's frames as one video. One that takes single pictures describes each frame, and the
language model of --summarise writes one caption from these. After a crash or Ctrl-C, run the same command again: no
clip is captioned twice. `torchrun --nproc-per-node N -m lite_sora.captioning …` divides the clips among N GPUs.
"""

import argparse
import os
from pathlib import Path

from lite_sora.captioning.caption import caption_manifest, check_paths
from lite_sora.captioning.frames import SAMPLINGS, FrameChoice
from lite_sora.captioning.output import Output
from lite_sora.captioning.request import Request
from lite_sora.data.clip import ManifestError
from lite_sora.storage.files import FolderError
from lite_sora.storage.hub import ModelError


def main() -> None:
    from lite_sora.processes import DeviceError, check_device  # needs torch, which the workers do not

    parser = argparse.ArgumentParser(
        prog="python -m lite_sora.captioning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", metavar="MANIFEST", type=Path, help="JSONL of clips")
    parser.add_argument("--out", required=True, type=Path, help="JSONL of the captioned clips, in the same folder")
    parser.add_argument("--model", required=True, help="folder or Hugging Face name of the captioner")
    parser.add_argument("--frames", type=int, default=8, help="frames that the captioner sees of a clip (default: 8)")
    parser.add_argument("--sampling", choices=list(SAMPLINGS), default="uniform", help="which (default: uniform)")
    parser.add_argument("--size", type=int, default=384, help="largest length of a frame's longer side (default: 384)")
    parser.add_argument(
        "--prompt",
        help="name of a prompt in captioning/prompts, or a text file (default: video, or image with --summarise)",
    )
    parser.add_argument("--language", choices=["en", "zh"], default="en", help="language of prompts and captions")
    parser.add_argument("--summarise", metavar="MODEL", help="language model that joins captions of frames")
    parser.add_argument("--max-tokens", type=int, default=128, help="length of an answer (default: 128)")
    parser.add_argument("--retries", type=int, default=2, help="attempts after an unusable answer (default: 2)")
    parser.add_argument("--batch", type=int, default=8, help="clips at a time (default: 8)")
    processes = max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    parser.add_argument(
        "--workers", type=int, default=processes, help="processes that decode (default: one for each core)"
    )
    parser.add_argument("--device", help="default: cuda if there is one, then mps, then cpu")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the models")
    parser.add_argument("--allow-outside", action="store_true", help="let the manifest name videos outside its folder")
    options = parser.parse_args()
    for name, least in {"frames": 1, "size": 16, "max-tokens": 1, "retries": 0, "batch": 1, "workers": 0}.items():
        if getattr(options, name.replace("-", "_")) < least:
            parser.error(f"--{name} must be {least} or more")
    try:
        check_paths(options.manifest, options.out)  # before models are loaded, which takes long
        request = _request(options, check_device(options.device), parser)
        choice = FrameChoice(options.frames, options.sampling, options.size)
        output = caption_manifest(
            request, choice, options.manifest, options.out, options.batch, options.workers, options.allow_outside
        )
    except (DeviceError, FolderError, ManifestError, ModelError) as error:
        raise SystemExit(f"error: {error}") from None
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        raise SystemExit("error: out of memory; run the same command with a smaller --batch or --size") from None
    except KeyboardInterrupt:
        raise SystemExit("\nstopped; the same command resumes here") from None
    if output:
        _print(output, options.out)


def _request(options: argparse.Namespace, device: str, parser: argparse.ArgumentParser) -> Request:
    """The models and their prompts."""
    from lite_sora.captioning.language import load_language_model
    from lite_sora.captioning.models import load_captioner
    from lite_sora.captioning.prompts import read_prompt

    try:
        one_picture = options.summarise or options.frames == 1
        prompt = read_prompt(options.prompt or ("image" if one_picture else "video"), options.language)
        template = read_prompt("summary", options.language) if options.summarise else ""
    except ValueError as error:
        parser.error(str(error))
    captioner = load_captioner(options.model, device, options.trust_remote_code)
    summariser = None
    if options.summarise:
        summariser = load_language_model(options.summarise, device, options.trust_remote_code)
    return Request(captioner, prompt, options.language, options.max_tokens, options.retries, summariser, template)


def _print(output: Output, out: Path) -> None:
    for before, after in output.examples:
        print(f"{after.id}: {before.caption or '(no caption)'}\n    → {after.caption}")
    for reason in output.reasons:
        print(f"skipped {reason}")
    folder = out.with_name(f"{out.stem}-captions")
    print(f"{output.captioned:,} clips captioned, {output.rate:.2f} a second")
    if output.marked:
        kinds = ", ".join(f"{mark} {count:,}" for mark, count in output.marked.most_common())
        print(f"{output.marked.total():,} marks ({kinds}); {output.kept_old:,} clips keep their old caption")
    print(f"{output.skipped:,} skipped" + (f", listed in {folder / 'skipped.txt'}" if output.skipped else ""))
    print(f"{out}, and {folder / 'examples.png'}")


if __name__ == "__main__":
    main()

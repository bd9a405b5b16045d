"""Which variant wins? Trains several on the toy world under equal compute and compares them on equal terms.

    python -m lite_sora.experiments.compare --variants dit,uvit,sit --seeds 3 --steps 400
    python -m lite_sora.experiments.compare --variants "dit:objective=v,dit:objective=v,rope=false" --budget 60s

Every variant sees the same clips, times' random numbers and noise in the same order, and gets the same `--flops`, the
same `--budget` of seconds (measured beforehand, so that its learning rate ends in time) or as many FLOPs as `--steps`
of the first variant take. Equal terms: all are sampled with DDIM at the same noise levels, and judged by prompt
adherence and by the error of their estimate of the clean video (`x0_error.py`). A variant is a denoiser, an
objective, a published pair of them (`PUBLISHED`), or one of these with changes, `name:flag=value,flag=value`, which are
any flags of train.py. Started again, a comparison continues where it stopped.
"""

import argparse
import json
import os
import re
import time
from pathlib import Path
from statistics import geometric_mean, median

import torch
from tqdm import tqdm

from lite_sora.autoencoders import load_autoencoder
from lite_sora.commands import command
from lite_sora.compute import training_flops
from lite_sora.data.clip import read_manifest
from lite_sora.data.loading import to_frames
from lite_sora.data.preview import sheet
from lite_sora.denoisers import DENOISERS
from lite_sora.diffusion.objective import time_grid
from lite_sora.diffusion.path import PATHS
from lite_sora.diffusion.presets import PRESETS
from lite_sora.errors import UserError
from lite_sora.evaluation.adherence import measure
from lite_sora.evaluation.adherence.questions import unreadable
from lite_sora.evaluation.x0_error import x0_error
from lite_sora.experiments.report import write_report
from lite_sora.pipeline import TextToVideo, assemble
from lite_sora.processes import Processes, check_device, join, leave
from lite_sora.storage.runs import read_json, write_json
from lite_sora.text.encoder import build_tokenizer
from lite_sora.toy.dataset import toy_manifest
from lite_sora.toy.sentences import corner_of
from lite_sora.training.denoiser import DenoiserSettings, train
from lite_sora.training.flags import parse
from lite_sora.training.metrics import read_lines
from lite_sora.training.muon import make_optimizers, matrices_on_tokens
from lite_sora.training.parallel import autocast, choose_precision
from lite_sora.training.parts import limits, model_config

PUBLISHED = {  # a denoiser with the objective of its paper
    "dit-ddpm": {"denoiser": "dit", "objective": "ddpm"},  # 2212.09748
    "uvit-ddpm": {"denoiser": "uvit", "objective": "ddpm"},  # 2209.12152
    "sit-sit": {"denoiser": "sit", "objective": "sit"},  # 2401.08740
}
# a denoiser's name means what --denoiser means; "sit" is one, and as an objective "dit:objective=sit"
SAMPLER_STEPS, SAMPLER_SHIFT = 12, 6.0  # noise levels of the default run's sampler
GUIDANCE = 1.5
CURVE_CLIPS = 32  # videos of seen, and as many of held-out combinations, at most, at each point of a curve
PROMPTS = ("a red circle moving right", "a green square moving up")


class CompareError(UserError):
    """A comparison that cannot be made as asked; the message says why."""


def presets() -> dict[str, dict[str, str]]:
    """What a variant's name stands for: an objective, a denoiser, or a published pair of them."""
    objectives = {name: {"objective": name} for name in PRESETS}
    return objectives | {name: {"denoiser": name} for name in DENOISERS} | PUBLISHED


def parse_variants(text: str) -> dict[str, list[str]]:
    """ "dit,uvit:objective=v,rope=false" → {name: flags of train.py}. A part without ":" that has a "=" belongs to the
    variant before it."""
    known, variants = presets(), {}
    for part in re.split(r",(?![^,:]*=[^,:]*(?:,|$))", text):
        name = part.strip()
        preset, _, changes = name.partition(":")
        if preset not in known:
            raise CompareError(f"--variants: {preset!r} is not one of {', '.join(known)}")
        options = dict(known[preset])
        for change in filter(None, changes.split(",")):
            key, equals, value = change.partition("=")
            key = key.strip().replace("-", "_")
            if not equals or key not in DenoiserSettings.__dataclass_fields__:
                raise CompareError(f"--variants: {change!r} in {name!r} is not a flag=value of train.py")
            options[key] = value.strip()
        if folder_of(name) in map(folder_of, variants):
            raise CompareError(f"--variants: {name!r} is there twice, or only a sign apart from another")
        variants[name] = [word for key, value in options.items() for word in (f"--{key}", *value.split())]
    return variants


def folder_of(variant: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", variant)


def make_plan(old: dict | None, variants: dict[str, list[str]], options: argparse.Namespace) -> dict:
    """{"terms": what must stay the same, "total_flops", "variants": {name: {"flags", "flops" a step, "parameters",
    "steps"}}}: each variant's part of the same compute. Variants may join a comparison later, its terms stay."""
    terms = {name: getattr(options, name) for name in ("flops", "steps", "budget", "clips", "flags")}
    if old and old["terms"] != terms:
        raise CompareError(f"{options.out} compares on other terms, {old['terms']}; choose another --out")
    plan = old or {"terms": terms, "total_flops": options.flops, "variants": {}}
    for name, flags in variants.items():
        if name in plan["variants"]:
            if plan["variants"][name]["flags"] != flags:
                known = " ".join(plan["variants"][name]["flags"])
                raise CompareError(f"{options.out} has another {name!r}, with {known}; choose another --out")
            continue
        settings = parse(DenoiserSettings, [*flags, *options.flags], "a variant")
        captions = [clip.caption for clip in read_manifest(manifest_of(settings), settings.allow_outside)]
        autoencoder = load_autoencoder(settings.autoencoder)
        model = assemble(model_config(settings, autoencoder), build_tokenizer(captions), autoencoder)
        words = model.text.tokenize(captions[:256]).shape[1]
        flops = settings.batch_size * training_flops(model, model.latent_shape(), words)
        row = {"flags": flags, "flops": flops, "parameters": sum(p.numel() for p in model.denoiser.parameters())}
        row["limits"] = limits(model)
        plan["total_flops"] = plan["total_flops"] or options.steps * flops
        row["steps"] = int(plan["total_flops"] / flops)
        if options.budget:
            row["steps"] = int(options.budget / step_seconds(model, settings, words))
        if row["steps"] < 10:
            raise CompareError(f"the budget is {row['steps']} steps of {name} only; give more")
        plan["variants"][name] = row
    return plan


def manifest_of(settings: DenoiserSettings) -> Path:
    """What a variant learns from, and what is held out there."""
    if settings.data:
        return Path(settings.data)
    return toy_manifest(settings, Processes(0, 1, torch.device("cpu")))


def step_seconds(model: TextToVideo, settings: DenoiserSettings, words: int, tries: int = 6) -> float:
    """The median time of a forward and backward pass of a batch and an optimiser step, on this machine as it is now."""
    device = torch.device(check_device(settings.device))
    precision = choose_precision(Processes(0, 1, device)) if settings.precision == "auto" else settings.precision
    model.to(device)
    optimizers = make_optimizers(model, matrices_on_tokens(model), settings)
    x = torch.randn(settings.batch_size, *model.latent_shape(), device=device)
    t, ids = torch.rand(len(x), device=device), torch.ones(len(x), words, dtype=torch.long, device=device)
    seconds = []
    for _ in range(tries):
        start = time.perf_counter()
        with autocast(device, precision):
            loss = model(latents=x, noise=x, t=t, captions=ids, signals={}).mean()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()
        loss.item()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def same_times(model: TextToVideo) -> torch.Tensor:
    """The sampler's times: the same noise levels for every path, so that DDIM takes the same steps with all of them."""
    linear = time_grid(SAMPLER_STEPS, SAMPLER_SHIFT)
    times = PATHS[model.objective.path].time_at(PATHS["linear"].log_snr(linear))
    times[0], times[-1] = 1.0, 0.0
    return times


def evaluate(model: TextToVideo, manifest: Path, clips: int) -> dict:
    """Adherence (seen and held-out, 0 to 1), diversity of position, and the error of the clean video: the geometric
    mean over noise levels, so that each counts alike, however large errors are there."""
    corner = model.config.training["toy_corner"]
    result = measure(model, corner, clips, sampler="ddim", times=same_times(model), guidance=GUIDANCE)
    errors = x0_error(model, manifest)
    return {
        "seen": result["seen"]["all"]["accuracy"],
        "held-out": result["held-out"]["all"]["accuracy"],
        "facts": {fact: result["seen"][fact]["accuracy"] for fact in ("shape", "colour", "motion")},
        "diversity": result["diversity"]["position"],
        "x0_error": geometric_mean(errors),
        "x0_errors": errors,
    }


def train_variant(name: str, row: dict, seed: int, folder: Path, options: argparse.Namespace) -> None:
    """Trains one variant with one seed, or what is left of it; curve.jsonl gets `--points` points on the way, and
    result.json the end."""

    def observe(step: int, model: TextToVideo) -> None:
        seconds = sum(settings.batch_size / line["clips_per_second"] for line in read_lines(folder / "metrics.jsonl"))
        point = {"step": step, "flops": step * row["flops"], "seconds": seconds}
        point |= evaluate(model, manifest_of(settings), min(CURVE_CLIPS, options.clips))
        with (folder / "curve.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(point) + "\n")

    every = str(-(-row["steps"] // options.points))
    flags = [*row["flags"], *options.flags, "--steps", str(row["steps"]), "--seed", str(seed), "--out", str(folder)]
    flags += ["--adherence_clips", "0", "--sample_every", every, "--checkpoint_every", every]
    done = read_lines(folder / "metrics.jsonl")
    if (folder / "config.json").exists():  # there is a checkpoint
        settings = parse(DenoiserSettings, ["--resume", str(folder)], "a variant")
    else:
        settings = parse(DenoiserSettings, flags, "a variant")
        if first_process():  # it was stopped before the first checkpoint
            (folder / "metrics.jsonl").unlink(missing_ok=True)
    if not settings.resume or done[-1]["step"] < row["steps"]:
        train(settings, observe)
        if read_lines(folder / "metrics.jsonl")[-1]["step"] < row["steps"]:
            raise KeyboardInterrupt  # which train took as a wish to end in an orderly way
    if first_process():
        model = TextToVideo.from_pretrained(folder, check_device(settings.device))
        result = {"variant": name, "seed": seed}
        result |= evaluate(model, manifest_of(settings), options.clips)
        frames = to_frames(model.generate(list(PROMPTS), seeds=[0, 0], sampler="ddim", times=same_times(model)))
        for number, prompt_frames in enumerate(frames):
            sheet([prompt_frames], [PROMPTS[number]]).save(folder / f"prompt-{number}.png")
        write_json(folder / "result.json", result)


def default_folder(options: argparse.Namespace) -> Path:
    """runs/compare-400-steps-128-clips, and the flags of all variants: comparisons on other terms lie in others."""
    amount = f"{options.steps}-steps"
    if options.flops or options.budget:
        amount = f"{options.flops:g}-flops" if options.flops else f"{options.budget:g}-seconds"
    flags = [flag.strip("-") for flag in options.flags]
    return Path("runs") / folder_of("-".join(["compare", amount, f"{options.clips}-clips", *flags]))[:100]


def first_process() -> bool:
    return int(os.environ.get("RANK", 0)) == 0


def compare(variants: dict[str, list[str]], options: argparse.Namespace) -> None:
    out, processes = options.out, join(options.device)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "plan.json"
    if processes.first:
        write_json(path, make_plan(read_json(path) if path.exists() else None, variants, options))
    processes.wait()
    plan = read_json(path)
    if processes.first:
        print(*(f"{name}: note: {limit}\n" for name in variants for limit in plan["variants"][name]["limits"]), sep="")

    runs = [(name, seed) for seed in range(options.seeds) for name in variants]  # one seed of each first
    for name, seed in tqdm(
        runs[options.part[0] :: options.part[1]], desc="comparing", unit="run", disable=not first_process()
    ):
        folder = out / folder_of(name) / f"seed-{seed}"
        if not (folder / "result.json").exists():
            train_variant(name, plan["variants"][name], seed, folder, options)
        if first_process() and options.part[0] == 0:
            write_report(out, plan)
    leave()
    if first_process():
        write_report(out, plan)  # again, since another part may have ended before


def seconds(text: str) -> float:
    """ "90", "90s", "5m" or "2h" → seconds."""
    found = re.fullmatch(r"([\d.]+)([smh]?)", text)
    if not found:
        raise ValueError
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def part(text: str) -> tuple[int, int]:
    number, of = (int(value) for value in text.split("/"))
    if not 1 <= number <= of:
        raise ValueError
    return number - 1, of


@command("compare", "stopped; the same command continues from the last checkpoint")
def main() -> None:
    epilog = "Any other flag goes to every variant, as to train.py."
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__.splitlines()[0], epilog=epilog)
    flag, terms = parser.add_argument, parser.add_mutually_exclusive_group()
    flag("--variants", default="dit,uvit,sit", help="presets, or preset:flag=value,…; with commas between")
    flag("--seeds", type=int, default=3, help="runs of each variant")
    terms.add_argument("--steps", type=int, default=400, help="the FLOPs of this many steps of the first variant")
    terms.add_argument("--flops", type=float, help="FLOPs of each run")
    terms.add_argument("--budget", type=seconds, help="seconds of training of each run, like 60s or 5m")
    flag("--points", type=int, default=4, help="points of each curve")
    flag("--clips", type=int, default=128, help="videos of seen, and as many of held-out combinations")
    flag("--out", type=Path, help="folder; a comparison in it is continued (default: in runs/, named after its terms)")
    flag("--part", type=part, default=(0, 1), help="K/N: every N-th run from the K-th, to start N at once")
    flag("--device", help="cuda, mps or cpu")
    options, options.flags = parser.parse_known_args()
    for name in ("seeds", "steps", "points", "clips"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(options, name)}")
    options.out = options.out or default_folder(options)
    variants = parse_variants(options.variants)
    for name, flags in variants.items():
        settings = parse(DenoiserSettings, [*flags, *options.flags], name)
        config = model_config(settings, load_autoencoder(settings.autoencoder))  # says what does not fit
        if settings.data:
            settings.toy_corner = corner_of(list(read_manifest(settings.data, settings.allow_outside)))
        config.training = vars(settings)
        if reason := unreadable(config):
            raise CompareError(f"{name}: adherence cannot be measured: {reason}")
    compare(variants, options)
    if first_process():
        print((options.out / "README.md").read_text(encoding="utf-8"), f"in {options.out}", sep="\n")


if __name__ == "__main__":
    main()

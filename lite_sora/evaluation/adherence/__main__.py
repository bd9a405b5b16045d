"""The command: python -m lite_sora.evaluation.adherence --run RUN."""

import argparse
import json

from lite_sora.commands import command
from lite_sora.diffusion.choices import SAMPLERS
from lite_sora.evaluation.adherence import measure
from lite_sora.evaluation.adherence.questions import unreadable
from lite_sora.evaluation.adherence.report import report
from lite_sora.load import open_model, options_of
from lite_sora.processes import check_device
from lite_sora.text.signals import parse_signals


@command("adherence", mendable=ValueError)
def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description="Prompt adherence: does the video show what the prompt said?"
    )
    parser.add_argument("--run", required=True, help="run folder or hub id")
    parser.add_argument("--clips", type=int, default=128, help="videos of seen, and as many of held-out combinations")
    parser.add_argument("--batch", type=int, default=32, help="videos at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="sampler steps (default: as the run's config.json says)")
    parser.add_argument("--guidance", type=float, help="guidance scale (default: as the run's config.json says)")
    parser.add_argument("--sampler", choices=list(SAMPLERS), help="sampler (default: as the run's config.json says)")
    parser.add_argument("--temperature", type=float, help="of a prior, as the next two (default: as config.json says)")
    parser.add_argument("--top-k", type=int, help="draw from the k most likely codes only")
    parser.add_argument("--top-p", type=float, help="draw from the fewest codes with this probability together")
    parser.add_argument("--signals", nargs="+", metavar="NAME=NUMBER", help="what else the model is conditioned on")
    parser.add_argument("--device", help="cuda, mps or cpu")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.clips < 1 or options.batch < 1 or options.seed < 0:
        parser.error("--clips and --batch must be at least 1, --seed at least 0")
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps must be at least 1, not {options.steps}")

    names = ("steps", "guidance", "sampler", "temperature", "top_k", "top_p", "signals")
    options.signals = parse_signals(options.signals)
    model = open_model(options.run, check_device(options.device))
    sampling = options_of(model, **{name: getattr(options, name) for name in names})
    if reason := unreadable(model.config):
        raise ValueError(f"{options.run}: {reason}")
    corner = model.config.training["toy_corner"]
    result = measure(model, corner, options.clips, options.batch, options.seed, **sampling)
    print(json.dumps(result, indent=2) if options.json else report(result))


if __name__ == "__main__":
    main()

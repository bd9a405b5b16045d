"""The result of `measure` in words."""

from lite_sora.evaluation.adherence import FACTS


def report(result: dict) -> str:
    """The result as a small table, with what there is to say of it."""
    lines = ["prompt adherence        shape  colour  motion     all   95 % interval of all"]
    for name in ("seen", "held-out"):
        row = result[name]
        facts, whole = "".join(f"{row[fact]['accuracy']:8.1%}" for fact in FACTS), row["all"]
        lines.append(f"{name:>10} ({row['clips']} clips){facts}   {whole['low']:.1%} to {whole['high']:.1%}")
    return "\n".join([*lines, f"diversity{_diversity(result)}", *_too_few(result)])


def _diversity(result: dict) -> str:
    clips, combinations = (result["seen"][name] for name in ("clips", "combinations"))
    values = [f"{name} {value:.2f}" for name, value in result["diversity"].items() if value is not None]
    if values:
        return f" (1 = as varied as real clips): {', '.join(values)}"
    if clips > combinations:
        return ": not known, since no prompt has two right videos"
    return f": not known, since no prompt was asked for twice; --clips {2 * combinations} does so for all"


def _too_few(result: dict) -> list[str]:
    """A line for each kind of combination that was not asked for as a whole."""
    return [
        f"{row['clips']} of the {row['combinations']} {name} combinations were asked for; as many clips would show all"
        for name, row in result.items()
        if name != "diversity" and row["clips"] < row["combinations"]
    ]

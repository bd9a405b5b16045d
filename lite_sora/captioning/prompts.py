"""The prompts of models, as text files that a person can edit: prompts/NAME.LANGUAGE.txt next to this module."""

from pathlib import Path

FOLDER = Path(__file__).parent / "prompts"


def read_prompt(name_or_path: str, language: str = "en") -> str:
    """The prompt of this name ("video", "image", "summary", "upsample", …) in a language ("en", "zh"), or the text of
    a file. Raises ValueError if there is neither, or the file is empty or not UTF-8."""
    path = FOLDER / f"{name_or_path}.{language}.txt"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        names = sorted(known.name.removesuffix(f".{language}.txt") for known in FOLDER.glob(f"*.{language}.txt"))
        known = f"the prompts in {language!r} are {', '.join(names)}" if names else f"there are none in {language!r}"
        raise ValueError(f"prompt {name_or_path}: there is no such file, and {known}")
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError(f"prompt {path}: not a text file in UTF-8") from None
    if not text:
        raise ValueError(f"prompt {path}: the file is empty")
    return text


def fill(template: str, **parts: str) -> str:
    """The template with each {name} replaced by that part; other braces stay. Raises ValueError if a name is missing,
    since the model would never see that part."""
    for name in parts:
        if f"{{{name}}}" not in template:
            raise ValueError(f"the prompt has no {{{name}}} for the {name}; it begins {template[:60]!r}")
    for name, part in parts.items():
        template = template.replace(f"{{{name}}}", part)
    return template

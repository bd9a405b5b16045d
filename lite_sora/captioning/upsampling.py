"""A short prompt → one in the style of the training captions, on which a model that was trained on long captions works
best. DALL-E 3 ("Improving Image Generation with Better Captions", 2023, section 3.5) and Sora let a language model
rewrite prompts. For the toy world, rules do it without a model."""

import re
import warnings
from dataclasses import replace
from itertools import islice

import numpy as np

from lite_sora.captioning.answers import Answer, whole_sentences
from lite_sora.captioning.language import LanguageModel
from lite_sora.captioning.request import fill, read_prompt
from lite_sora.data.clip import ManifestError, read_manifest
from lite_sora.seeds import seed_of
from lite_sora.toy.sentences import captions
from lite_sora.toy.world import COLOURS, CORNERS, SHAPES, Corner, Scene, random_scene, random_thing


def upsample(
    model: LanguageModel, prompts: list[str], examples: list[str], seed: int = 0, temperature: float = 0.3
) -> list[str]:
    """The prompts as the model rewrites them: in the style of the examples (prompts/upsample-like), or without examples
    in that of detailed captions (prompts/upsample). A Chinese prompt is rewritten in Chinese. The same prompt and seed
    give the same result. Warns of an answer that was cut off, of which the whole sentences are kept, and of an empty
    one, for which the prompt is kept."""
    requests, parts = [], {"examples": "\n".join(examples)} if examples else {}
    for prompt in prompts:
        language = "zh" if re.search("[\u4e00-\u9fff]", prompt) else "en"
        template = read_prompt("upsample-like" if examples else "upsample", language)
        requests.append(fill(template, **parts, prompt=prompt))
    answers = model.write(requests, max_tokens=128, temperature=temperature, seed=seed)
    return [_usable(answer, prompt, model.name) for answer, prompt in zip(answers, prompts, strict=True)]


def _usable(answer: Answer, prompt: str, model: str) -> str:
    """The caption in an answer: its first paragraph, without quotation marks around it."""
    text = answer.text.partition("\n\n")[0]
    if not answer.finished and text == answer.text:
        warnings.warn(f"{model} did not finish its answer to the prompt {prompt!r}", stacklevel=3)
        text = whole_sentences(text)
    text = " ".join(text.split()).strip("\"'*“”「」 ")
    if not text:
        warnings.warn(f"{model} wrote nothing for the prompt {prompt!r}, which is kept", stacklevel=3)
    return text or prompt


def training_captions(training: dict, most: int = 8) -> list[str]:
    """The first captions of a run's training data, by the settings in its config.json: from its manifest if that still
    exists, or from the toy world."""
    if not training:  # not a model that was trained here
        return []
    if not training.get("data"):
        corner = CORNERS.get(training.get("toy_corner"), Corner())
        return [captions(random_scene(np.random.default_rng(index), corner))[0] for index in range(most)]
    clips = read_manifest(training["data"], allow_outside=True)  # no video is opened
    try:
        return list(islice((clip.caption for clip in clips if clip.for_training and clip.caption), most))
    except ManifestError:
        return []


# ---------------------------------------------------------------- the toy world, by rules

WORDS = {  # fact: {value: the words that mean it}
    "shape": {"circle": "circle disc disk ball dot", "square": "square box block", "triangle": "triangle"},
    "colour": {colour: colour for colour in COLOURS} | {"cyan": "cyan aqua", "magenta": "magenta fuchsia"},
    "horizontal": {"right": "right rightward rightwards", "left": "left leftward leftwards"},
    "vertical": {
        "up": "up upward upwards rises rising climbs climbing",
        "down": "down downward downwards falls falling drops dropping sinks sinking",
    },
    "change": {
        "still": "still stationary motionless",
        "growing": "growing grows",
        "shrinking": "shrinking shrinks",
        "bouncing": "bouncing bounces",
    },
    "size": {"small": "small little tiny", "medium": "medium", "large": "large big huge"},
    "speed": {"slowly": "slowly slow", "quickly": "quickly quick fast"},
    "background": {"black": "onblack", "gray": "ongray ongrey", "white": "onwhite"},
}
MEANING = {
    word: (fact, value) for fact, values in WORDS.items() for value, words in values.items() for word in words.split()
}
FILLERS = """
    a an the one of it its is are that which and then to towards side something thing object shape coloured colored
    moving moves move going goes go heading heads gliding glides drifting drifts sliding slides standing stands
    video clip shows showing
""".split()  # noqa: SIM905
AWAY_FROM = {"left": "right", "right": "left", "top": "down", "bottom": "up"}
TO = {"top": "up", "bottom": "down"}


def upsample_toy(prompt: str, seed: int = 0) -> str:
    """A prompt about one thing → the words of the toy world's captions: "red ball going right" → "a red circle moving
    right". A shape, colour or motion (right, left, up, down) that is not in the prompt is drawn by the seed.
    Size, speed and background, which the plainest caption leaves out, are said if the prompt says them. Raises
    ValueError for a word that is not understood, and for a prompt that contradicts itself."""
    said = _read(prompt)
    rng = np.random.default_rng(seed_of(seed, "upsample", prompt))
    corner = Corner()
    shape, colour, motion = (str(rng.choice(list(values))) for values in (SHAPES, COLOURS, corner.motions))
    way = "-".join(said[part] for part in ("vertical", "horizontal") if part in said)
    triple = said.get("shape", shape), said.get("colour", colour), said.get("change") or way or motion
    thing = random_thing(rng, corner, triple)
    if "speed" in said and not thing.distance:
        raise ValueError(f"the prompt {prompt!r} says {said['speed']} of a thing that is {triple[2]}, which has none")
    thing = replace(thing, size=said.get("size", thing.size), speed=said.get("speed", thing.speed))
    plain, with_background, _, detailed = captions(Scene((thing,), said.get("background", "black")))
    if "size" in said or "speed" in said:
        return detailed
    return with_background if said.get("background", "black") != "black" else plain


def _read(prompt: str) -> dict[str, str]:
    """{fact: value} of the facts in a prompt."""
    text = re.sub(r"\bfrom (?:the )?(left|right|top|bottom)\b", lambda found: AWAY_FROM[found[1]], prompt.lower())
    text = re.sub(r"\bto (?:the )?(top|bottom)\b", lambda found: TO[found[1]], text)
    text = re.sub(r"\b(?:on|over|against) (?:an? |the )?(black|white|gr[ae]y)(?: background)?\b", r"on\1", text)
    words = re.findall(r"\w+", text)
    if not words:
        raise ValueError(f"the prompt {prompt!r} has no words")
    if re.search(r"\band (?:an?|the|one|something)\b", text):
        raise ValueError(f"the prompt {prompt!r} is about more than one thing; the toy world's rules take one")
    said: dict[str, str] = {}
    for word in [word for word in words if word not in FILLERS]:
        if word not in MEANING:
            raise ValueError(
                f"the prompt {prompt!r} has the word {word!r}, which the toy world's rules do not understand; they "
                f"know the colours {', '.join(COLOURS)}, the shapes {', '.join(SHAPES)}, and how one of them moves"
            )
        fact, value = MEANING[word]
        if said.setdefault(fact, value) != value:
            raise ValueError(f"the prompt {prompt!r} says both {said[fact]} and {value} of one thing; leave one out")
    if "change" in said and ("horizontal" in said or "vertical" in said):
        way = said.get("vertical") or said["horizontal"]
        raise ValueError(f"the prompt {prompt!r} says both {said['change']} and {way} of one thing; leave one out")
    return said

"""What models answer, and whether that is a caption at all. Language models return nothing, do not stop, repeat
themselves or refuse, and such a caption would be noise for a text-to-video model."""

import re
from dataclasses import dataclass

MARKS = ("truncated", "repeating", "refusing", "empty")  # the worst last
ROUNDS = 4  # times in a row that the same words may not come
MOST_REPEATED = 0.5  # fraction of words in phrases that came before
PHRASE = {"en": 5, "zh": 8}  # words, or Chinese characters, of a phrase
LEAST_SENTENCE = 3  # words of a sentence that may not come twice

TOKEN = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")  # a Chinese character, or a word of other letters
END = r"(?:[.!?]+[\"')\]”’]*(?=\s|$)|[。！？…]+[”’」』）]*)"  # of a sentence; not the point in 2.5
SENTENCE = re.compile(rf".*?(?:{END}|\n|$)", re.DOTALL)
LOOP = re.compile(rf"(?<!\S)((?:\S+ )+?)\1{{{ROUNDS - 1}}}")  # in words that each end with a space
QUOTED = re.compile(r'"[^"]*"|“[^”]*”|「[^」]*」')  # what people or signs in the picture say
PICTURE = r"(?:videos?|images?|pictures?|frames?|photos?|clips?|footage)"
SENT = r"(?:provided|attached|given|uploaded|supplied)"
REFUSALS = (
    # an apology first
    r"^\W*(?:i'm |i am )?(?:so |very )?sorry\b",
    r"^\W*(?:i )?apologi[sz]e",
    r"^\W*(?:很|非常)?(?:抱歉|对不起|對不起)",
    # about itself
    r"\bI(?:'m| am) (?:sorry|unable|not able)\b",
    r"\bI (?:cannot|can't|can not|could not|couldn't|do not|don't|did not|didn't|won't) (?:actually |directly )?"
    r"(?:see|view|watch|access|open|describe|caption|provide|help|assist|identify|determine|process|analy[sz]e|have)\b",
    r"\bas an? (?:AI|artificial intelligence|(?:large )?(?:vision[- ])?language model|text-based)\b",
    r"我(?:是一[个個]|只是一[个個]|无法|無法|不能|没有办法|看不到|没有看到)",
    r"作为(?:一[个名位款])?\s*(?:AI|人工智能|大?语言模型|大?语言助手)",
    # the video is missing
    rf"\bno {PICTURE} (?:(?:was|were|is|are|has been|have been) )?{SENT}\b",
    rf"\b{PICTURE} (?:was|were|is|are) not {SENT}\b",
    r"\bplease (?:provide|upload|share|attach|send)\b",
    r"(?:没有|未|并未)(?:提供|上传|附上|收到)(?:任何|该)?(?:视频|图像|图片|画面)",
    r"(?:视频|图像|图片|画面)(?:没有|未|并未)(?:提供|上传|附上)",
    r"请(?:您)?(?:先)?(?:提供|上传|发送)",
)
REFUSAL = re.compile("|".join(REFUSALS), re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """text without surrounding space; finished: False if it was cut off at the limit of tokens."""

    text: str
    finished: bool = True


def marks(answer: Answer, language: str = "en") -> list[str]:
    """What is wrong with an answer: any of `MARKS`, the worst last; an empty list for a good answer."""
    spoken = QUOTED.sub("", answer.text.replace("’", "'").strip('"“”'))
    found = {
        "truncated": not answer.finished,
        "repeating": repeating(answer.text, language),
        "refusing": bool(REFUSAL.search(spoken)),  # the model speaks of itself, or asks for the video
        "empty": not TOKEN.search(answer.text),
    }
    return [mark for mark in MARKS if found[mark]]


def badness(found: list[str]) -> int:
    """0 for a good answer; higher for a worse one."""
    return max((1 + MARKS.index(mark) for mark in found), default=0)


def usable(found: list[str]) -> bool:
    """Whether an answer with these marks is a caption. One that was cut off is, up to its last whole sentence."""
    return found in ([], ["truncated"])


def repeating(text: str, language: str = "en") -> bool:
    """Whether a sentence comes twice, some words come `ROUNDS` times in a row, or half of the words are repeated."""
    words, sentences = TOKEN.findall(text.lower()), [TOKEN.findall(part) for part in SENTENCE.findall(text.lower())]
    long = [tuple(sentence) for sentence in sentences if len(sentence) >= LEAST_SENTENCE]
    twice, loops = len(set(long)) < len(long), LOOP.search("".join(f"{word} " for word in words))
    return twice or bool(loops) or repeated_fraction(words, PHRASE[language]) >= MOST_REPEATED


def repeated_fraction(words: list[str], phrase: int) -> float:
    """The fraction of `words` in a phrase of `phrase` words that came earlier in the text, in [0, 1].

    After the duplicate n-grams of Gopher's filter (2112.11446, table A1). A caption may use the same words for several
    things, so a phrase's first occurrence does not count, and `MOST_REPEATED` is allowed: the most repetitive of 4,000
    captions of the toy world has 0.41."""
    seen, repeated = set(), set()  # phrases; indices of words
    for index in range(len(words) - phrase + 1):
        here = tuple(words[index : index + phrase])
        if here in seen:
            repeated.update(range(index, index + phrase))
        seen.add(here)
    return len(repeated) / max(1, len(words))


def whole_sentences(text: str) -> str:
    """A text that was cut off, up to the end of its last full sentence; all of it if there is none."""
    ends = [end.end() for end in re.finditer(END, text)]
    return text[: ends[-1]] if ends else text

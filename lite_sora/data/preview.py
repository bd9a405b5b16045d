"""Frames arranged as pictures, for people to look at. Frames are uint8 (T, H, W, 3), RGB."""

import textwrap

import numpy as np
from PIL import Image, ImageDraw


def enlarge(frames: np.ndarray, at_least: int = 256) -> np.ndarray:
    """Repeats pixels by a whole factor until the shorter side has `at_least` pixels: 32 are too few to see."""
    factor = max(1, -(-at_least // min(frames.shape[1:3])))
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def sheet(rows: list[np.ndarray], labels: list[str], at_least: int = 64, gap: int = 4) -> Image.Image:
    """A grid of samples: a video each row, a frame each column, and above each row its label of one line or more."""
    rows = [enlarge(frames, at_least) for frames in rows]
    line = 16 + 15 * max(label.count("\n") for label in labels)
    width = max(frames.shape[0] * (frames.shape[2] + gap) for frames in rows) + gap
    height = sum(frames.shape[1] + line + gap for frames in rows) + gap
    picture = Image.new("RGB", (width, height), "white")
    pen, y = ImageDraw.Draw(picture), gap
    for frames, label in zip(rows, labels, strict=True):
        pen.text((gap, y), label, fill="black", font_size=11)
        for index, array in enumerate(frames):
            picture.paste(Image.fromarray(array), (gap + index * (frames.shape[2] + gap), y + line))
        y += line + frames.shape[1] + gap
    return picture


def mosaic(videos: list[np.ndarray], labels: list[str], columns: int = 4, at_least: int = 128) -> np.ndarray:
    """A grid of several videos of one length as one video, uint8 frames; each has its label above it."""
    gap, line = 6, 30  # two lines of text
    videos = [enlarge(frames, at_least) for frames in videos]
    length, height, width, _ = videos[0].shape
    rows = -(-len(videos) // columns)
    page = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + line + gap) + gap), "white")
    pen = ImageDraw.Draw(page)
    corners = []  # (x, y) of each video
    for index, label in enumerate(labels):
        row, column = divmod(index, columns)
        corners.append((gap + column * (width + gap), gap + row * (height + line + gap) + line))
        pen.text((corners[-1][0], corners[-1][1] - line), textwrap.fill(label, width // 6), fill="black", font_size=11)
    canvas = np.repeat(np.asarray(page)[None], length, axis=0)
    for frames, (x, y) in zip(videos, corners, strict=True):
        canvas[:, y : y + height, x : x + width] = frames
    return canvas

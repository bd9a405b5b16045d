"""For each exercise of lesson 03 a right answer, and typical wrong ones with a part of what must be said of them."""


def right_3_1(scores, threshold, min_frames):
    found, last = [], 0
    for frame, score in enumerate(scores, 1):
        if score >= threshold and frame - last >= min_frames:
            found.append(frame)
            last = frame
    return found


def early_3_1(scores, threshold, min_frames):
    return [frame - 1 for frame in right_3_1(scores, threshold, min_frames)]


def from_zero_3_1(scores, threshold, min_frames):
    found, last = [], 0
    for frame, score in enumerate(scores):
        if score >= threshold and frame - last >= min_frames:
            found.append(frame)
            last = frame
    return found


def strict_3_1(scores, threshold, min_frames):
    return right_3_1(scores, threshold + 1e-6, min_frames)


def all_3_1(scores, threshold, min_frames):
    return right_3_1(scores, threshold, 1)


def since_score_3_1(scores, threshold, min_frames):
    found, last = [], 0
    for frame, score in enumerate(scores, 1):
        if score >= threshold:
            if frame - last >= min_frames:
                found.append(frame)
            last = frame
    return found


def short_first_3_1(scores, threshold, min_frames):
    found, last = [], -1000
    for frame, score in enumerate(scores, 1):
        if score >= threshold and frame - last >= min_frames:
            found.append(frame)
            last = frame
    return found


def longer_3_1(scores, threshold, min_frames):
    return right_3_1(scores, threshold, min_frames + 1)


def long_last_3_1(scores, threshold, min_frames):
    return [f for f in right_3_1(scores, threshold, min_frames) if len(scores) + 1 - f >= min_frames]


def none_3_1(scores, threshold, min_frames):
    return []


def right_3_2(digits):
    return f"{int(digits, 16) ^ 0x5555555555555555:016x}"


def even_3_2(digits):
    return f"{int(digits, 16) ^ 0xAAAAAAAAAAAAAAAA:016x}"


def reversed_3_2(digits):
    return digits[::-1]


def reversed_rows_3_2(digits):
    rows = [f"{int(digits[i : i + 2], 16):08b}" for i in range(0, 16, 2)]
    return "".join(f"{int(row[::-1], 2):02x}" for row in rows)


def last_row_3_2(digits):
    return f"{int(digits, 16) ^ 0x55:016x}"


def unpadded_3_2(digits):
    return f"{int(digits, 16) ^ 0x5555555555555555:x}"


def rows_3_2(digits):
    return f"{int(digits, 16) ^ 0x00FF00FF00FF00FF:016x}"


def number_3_2(digits):
    return int(digits, 16) ^ 0x5555555555555555


def all_3_2(digits):
    return f"{int(digits, 16) ^ 0xFFFFFFFFFFFFFFFF:016x}"


def right_3_3():
    return 0.0005, 0.007


def default_3_3():
    return 0.005, 0.015


def only_text_3_3():
    return 0.0, 0.007


def only_motion_3_3():
    return 0.0005, 0.015


def swapped_3_3():
    return 0.007, 0.0005


def strict_3_3():
    return 0.03, 0.1


RIGHT = {"3.1": right_3_1, "3.2": right_3_2, "3.3": right_3_3}
WRONG = {
    "3.1": [
        (early_3_1, "a frame too early"),
        (from_zero_3_1, "a frame too early"),
        (strict_3_1, "equal to the threshold"),
        (all_3_1, "at least min_frames"),
        (since_score_3_1, "the last cut that was kept"),
        (short_first_3_1, "count from frame 0"),
        (longer_3_1, "exactly min_frames"),
        (long_last_3_1, "the last shot may be shorter"),
        (none_3_1, "[], not ["),
    ],
    "3.2": [
        (even_3_2, "columns 0, 2, 4 and 6"),
        (reversed_3_2, "the order is reversed"),
        (rows_3_2, "upside down"),
        (number_3_2, "not 16 hexadecimal digits"),
        (all_3_2, "all bits are flipped"),
        (reversed_rows_3_2, "the order is reversed"),
        (last_row_3_2, "only the last row"),
        (unpadded_3_2, "zeros at the front"),
        (lambda digits: digits, "the frame itself"),
    ],
    "3.3": [
        (default_3_3, "red films are dropped"),
        (only_text_3_3, "frozen films are kept"),
        (only_motion_3_3, "lower the most text"),
        (swapped_3_3, "the other way round"),
        (strict_3_3, "good films are dropped"),
        (lambda: 0.0005, "two numbers"),
    ],
}

"""python -m lite_sora.catalogs: see the package's docstring."""

import argparse
import sys
from pathlib import Path

from lite_sora import catalogs
from lite_sora.catalogs import captions, clips, data_juicer, folder, tables
from lite_sora.catalogs.convert import Source, check_inputs, convert
from lite_sora.commands import command
from lite_sora.errors import UserError
from lite_sora.storage.files import make_folder

READERS = {  # of one annotation file or folder, with the command's flags
    "videoinstruct-100k": lambda path, flags: captions.videoinstruct(path, flags.all_questions, flags.split),
    "panda-70m": lambda path, flags: clips.panda70m(path, flags.split),
    "youku-mplug": lambda path, flags: tables.youku(path, flags.split),
    "msr-vtt": lambda path, flags: captions.msrvtt(path, flags.files == "sources", flags.split),
    "shot2story": lambda path, flags: clips.shot2story(path, flags.parts, flags.videos, flags.split),
    "internvid": lambda path, flags: tables.internvid(path, flags.files == "clips", flags.split),
    "webvid-10m": lambda path, flags: tables.webvid(path, flags.split),
    "folder": lambda path, flags: folder.read(path, flags.out.parent, flags.language, flags.split),
    "data-juicer": lambda path, flags: data_juicer.read(path, flags.language, flags.split),
    "lite-sora": lambda path, flags: tables.lite_sora(path, flags.language, flags.split),
}
HAS_FILES = {"msr-vtt": "clips", "internvid": "sources"}  # what the videos on disk are, if --files does not say


def source(options: argparse.Namespace, path: Path) -> Source:
    """The entries of one annotation file, with where its videos are."""
    found, videos = READERS[options.name](path, options), options.videos
    if options.name == "folder":
        return Source(found, path if path.is_dir() else options.out.parent, captioned=False)
    if path.is_dir():
        return Source(found, path)
    if options.name in ("data-juicer", "lite-sora"):  # their paths are relative to their own folder
        return Source(found, videos or path.parent, must_exist=videos is not None)
    return Source(found, videos)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m lite_sora.catalogs",
        description=catalogs.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*READERS, "to-data-juicer"], metavar="NAME", help="one of the names above")
    parser.add_argument("--annotations", type=Path, nargs="+", required=True, help="annotation files, or a folder")
    parser.add_argument("--videos", type=Path, help="folder of the videos: only those that exist are written")
    parser.add_argument("--out", type=Path, required=True, help="the manifest to write")
    parser.add_argument("--limit", type=int, help="stop after this number of clips")
    parser.add_argument("--split", choices=["train", "val", "test"], help="overrides the file's split")
    parser.add_argument("--language", help="of the captions, as in en, zh (folder, data-juicer, lite-sora)")
    parser.add_argument("--all-questions", action="store_true", help="videoinstruct-100k: every answer is a caption")
    parser.add_argument("--files", choices=["clips", "sources"], help="msr-vtt, internvid: what the videos on disk are")
    parser.add_argument("--parts", choices=clips.PARTS, help="shot2story: whole clips, shots, or both (default)")
    options = parser.parse_args()
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be at least 1")
    if options.videos and not options.videos.is_dir():
        parser.error(f"--videos {options.videos}: there is no such folder")
    if options.videos and (options.name == "folder" or any(path.is_dir() for path in options.annotations)):
        parser.error("the videos are in the folder of --annotations; leave --videos out")
    takes = {"files": HAS_FILES, "parts": ["shot2story"], "all_questions": ["videoinstruct-100k"]}
    takes["language"] = ["folder", "data-juicer", "lite-sora"]
    for flag, names in takes.items():
        if getattr(options, flag) and options.name not in names:
            parser.error(f"--{flag.replace('_', '-')} is for {' and '.join(names)}")
    if options.name == "to-data-juicer" and len(options.annotations) > 1:
        parser.error("to-data-juicer takes one manifest")
    options.files = options.files or HAS_FILES.get(options.name)
    options.parts = options.parts or "both"
    return options


@command("catalogs", mendable=(UserError, OSError))
def main() -> None:
    options = parse()
    make_folder(options.out.parent, f"--out {options.out}")
    check_inputs(options.annotations, options.out)
    if options.name == "folder":
        folder.check_names([path for path in options.annotations if not path.is_dir()])
    if options.name == "to-data-juicer":
        samples, windows = data_juicer.write(options.annotations[0], options.out)
        print(f"{options.out}: {samples} samples")
        if windows:
            print(f"{windows} are windows of longer files, which Data-Juicer will see whole: cut them first")
        return
    report = convert((source(options, path) for path in options.annotations), options.out, options.limit)
    if not report.clips:
        print(*list(report.lines(options.out))[1:], sep="\n", file=sys.stderr)
        sys.exit(f"nothing could be used, so {options.out} was not written")
    print(*report.lines(options.out), sep="\n")


if __name__ == "__main__":
    main()

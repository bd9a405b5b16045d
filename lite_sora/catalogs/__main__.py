"""python -m lite_sora.catalogs: see the package's docstring."""

import argparse
import sys
from pathlib import Path

from lite_sora import catalogs
from lite_sora.catalogs import (
    data_juicer,
    folder,
    internvid,
    lite_sora_layout,
    msrvtt,
    panda70m,
    shards,
    shot2story,
    videoinstruct,
    webvid,
    youku,
)
from lite_sora.catalogs.convert import Source, check_inputs, convert
from lite_sora.catalogs.values import CatalogError
from lite_sora.data.clip import ManifestError
from lite_sora.storage.files import FolderError, make_folder

NAMES = ["videoinstruct-100k", "panda-70m", "youku-mplug", "msr-vtt", "shot2story", "internvid", "webvid-10m"]
NAMES += ["folder", "data-juicer", "lite-sora", "to-data-juicer"]
HAS_FILES = {"msr-vtt": "clips", "internvid": "sources"}  # what the videos on disk are, if --files does not say


def source(options: argparse.Namespace, path: Path) -> Source:
    """The entries of one annotation file, with where its videos are."""
    split, language = options.split, options.language
    videos, home = options.videos, options.out.parent
    own_folder = (videos or path.parent, videos is not None)  # for files whose paths are relative to their own folder
    match options.name:
        case "videoinstruct-100k":
            return Source(videoinstruct.read(path, options.all_questions, split), videos)
        case "panda-70m":
            return Source(panda70m.read(path, split), path if path.is_dir() else videos)
        case "youku-mplug":
            return Source(youku.read(path, split), videos)
        case "msr-vtt":
            return Source(msrvtt.read(path, options.files == "sources", split), videos)
        case "shot2story":
            return Source(shot2story.read(path, options.parts, videos, split), videos)
        case "internvid":
            return Source(internvid.read(path, options.files == "clips", split), videos)
        case "webvid-10m":
            return Source(webvid.read(path, split), videos)
        case "folder" if path.is_dir():
            return Source(folder.read(path, language, split), path)
        case "folder":
            return Source(shards.read(path, home, language, split), home)
        case "data-juicer":
            return Source(data_juicer.read(path, language, split), *own_folder)
        case "lite-sora":
            return Source(lite_sora_layout.read(path, language, split), *own_folder)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m lite_sora.catalogs",
        description=catalogs.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=NAMES, metavar="NAME", help="one of the names above")
    parser.add_argument("--annotations", type=Path, nargs="+", required=True, help="annotation files, or a folder")
    parser.add_argument("--videos", type=Path, help="folder of the videos: only those that exist are written")
    parser.add_argument("--out", type=Path, required=True, help="the manifest to write")
    parser.add_argument("--limit", type=int, help="stop after this number of clips")
    parser.add_argument("--split", choices=["train", "val", "test"], help="overrides the file's split")
    parser.add_argument("--language", help="of the captions, as in en, zh (folder, data-juicer, lite-sora)")
    parser.add_argument("--all-questions", action="store_true", help="videoinstruct-100k: every answer is a caption")
    parser.add_argument("--files", choices=["clips", "sources"], help="msr-vtt, internvid: what the videos on disk are")
    parser.add_argument("--parts", choices=shot2story.PARTS, help="shot2story: whole clips, shots, or both (default)")
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


def main() -> None:
    options = parse()
    try:
        make_folder(options.out.parent, f"--out {options.out}")
        check_inputs(options.annotations, options.out)
        if options.name == "folder":
            shards.check_names([path for path in options.annotations if not path.is_dir()])
        if options.name == "to-data-juicer":
            samples, windows = data_juicer.write(options.annotations[0], options.out)
            print(f"{options.out}: {samples} samples")
            if windows:
                print(f"{windows} are windows of longer files, which Data-Juicer will see whole: cut them first")
            return
        report = convert((source(options, path) for path in options.annotations), options.out, options.limit)
    except (CatalogError, FolderError, ManifestError, OSError) as error:
        sys.exit(str(error))
    if not report.clips:
        print(*list(report.lines(options.out))[1:], sep="\n", file=sys.stderr)
        sys.exit(f"nothing could be used, so {options.out} was not written")
    print(*report.lines(options.out), sep="\n")


if __name__ == "__main__":
    main()

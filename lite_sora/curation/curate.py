"""A recipe and a manifest in, a better manifest and a report out: measure everything, then select."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from tqdm import tqdm

from lite_sora.curation.annotate import Row, annotate, fraction_of
from lite_sora.curation.recipe import Recipe
from lite_sora.curation.report import write_report
from lite_sora.curation.selection import Selection, select
from lite_sora.data.clip import Clip, ManifestError, check_out, read_manifest
from lite_sora.storage.files import make_folder
from lite_sora.storage.journal import Journal
from lite_sora.workers import rank_and_world


def curate(
    recipe: Recipe,
    manifest: Path,
    out: Path,
    workers: int,
    allow_outside: bool = False,
    show: bool = True,
    device: str | None = None,
) -> Selection | None:
    """Writes the clips that the recipe keeps to `out`, and next to it

        <out>.dropped.jsonl   the others, with the reason in stats["dropped"]
        <out>-report/         how many clips each operator kept, with pictures
        <manifest>-stats/     what was measured, shared by all recipes that are run on this manifest

    Frames are measured by `workers` processes (0: by this one), models run in this one on `device`. Under torchrun each
    process measures a fraction of the files, and the first one does the rest; the others return None. Raises
    ManifestError or FolderError, before anything is measured, for paths that cannot be used."""
    check_out(manifest, out)
    clips = partial(read_manifest, manifest, allow_outside)

    def measured(clips: Iterable[Clip], show: bool) -> Iterator[Row]:
        bar = tqdm(total=count, desc="measuring", unit="clip", disable=not show)
        with bar, closing(Journal(stats, rank)) as journal:
            yield from annotate(clips, recipe, manifest.parent, journal, workers, device, bar)

    if next(clips(), None) is None:
        raise ManifestError(f"{manifest}: contains no clips")
    stats = make_folder(manifest.with_name(manifest.stem + "-stats"), f"--manifest {manifest}")
    report = make_folder(out.with_name(out.stem + "-report"), f"--out {out}")
    rank, world = rank_and_world()
    count = sum(1 for _ in fraction_of(clips(), rank, world))  # reads all rows, so that a broken one is found now
    if world > 1:
        from lite_sora.processes import join, leave  # needs torch, which takes as much memory as all the rest

        processes = join("cpu")
        for _ in measured(fraction_of(clips(), rank, world), show):
            pass
        processes.wait_for_all()
        leave()
        if rank:
            return None
    selection = select(measured(clips(), show and world == 1), recipe, out)
    write_report(report, recipe, selection, manifest.parent)
    return selection

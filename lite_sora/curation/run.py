"""A recipe and a manifest in, a better manifest and a report out: measure everything, then select."""

import os
from datetime import timedelta
from pathlib import Path

from lite_sora.curation.annotate import annotate, share_of
from lite_sora.curation.recipe import Recipe
from lite_sora.curation.report import write_report
from lite_sora.curation.selection import Selection, select
from lite_sora.curation.store import Store
from lite_sora.data.clip import ManifestError, read_manifest, write_manifest


def curate(
    recipe: Recipe, manifest: Path, out: Path, workers: int, allow_outside: bool = False, show: bool = True
) -> Selection | None:
    """Writes the clips that the recipe keeps to `out`, and beside it

        <out>.dropped.jsonl   the others, with the reason in stats["dropped"]
        <out>-report/         how many clips each operator kept, with pictures
        <manifest>-stats/     what was measured, shared by all recipes that are run on this manifest

    Under torchrun each process measures its share of the files, and the first one does the rest; the others return
    None. Raises ManifestError, before anything is measured, for a manifest that cannot be used."""
    manifest, out = Path(manifest), Path(out)
    if out.resolve().parent != manifest.resolve().parent:
        raise ManifestError(f"{out}: put it into {manifest.resolve().parent}, since videos are named relative to it")
    if out.resolve() == manifest.resolve():
        raise ManifestError(f"{out}: would overwrite the manifest that it is made from; choose another --out")
    clips = list(read_manifest(manifest, allow_outside))
    if not clips:
        raise ManifestError(f"{manifest}: holds no clip")
    folder, stats = manifest.parent, manifest.with_name(manifest.stem + "-stats")
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        _join()
    store = Store(stats, rank)
    rows = annotate(share_of(clips, rank, world), recipe, folder, store, workers, show)
    store.close()
    if world > 1:
        _wait_for_all()
        if rank:
            return None
        store = Store(stats)  # with what the others have measured
        rows = annotate(clips, recipe, folder, store, workers, show=False)
        store.close()
    selection = select(rows, recipe)
    write_manifest(out, selection.kept)
    write_manifest(out.with_name(out.stem + ".dropped.jsonl"), [clip for _, clip in selection.dropped])
    write_report(out.with_name(out.stem + "-report"), recipe, clips, selection, folder)
    return selection


def _join() -> None:
    """Finds the other processes of a torchrun job, before anything takes long."""
    import torch.distributed as dist

    dist.init_process_group("gloo")


def _wait_for_all() -> None:
    """Until every process is here: some have more to measure than others."""
    import torch.distributed as dist

    dist.monitored_barrier(timeout=timedelta(days=30))
    dist.destroy_process_group()

"""A recipe and a manifest in, a better manifest and a report out: measure everything, then select."""

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from tqdm import tqdm

from lite_sora.curation.annotate import Row, annotate, share_of
from lite_sora.curation.recipe import Recipe
from lite_sora.curation.report import write_report
from lite_sora.curation.selection import Selection, select
from lite_sora.curation.store import Store
from lite_sora.data.clip import Clip, ManifestError, check_out, read_manifest


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
    check_out(manifest, out)
    stats, report = manifest.with_name(manifest.stem + "-stats"), out.with_name(out.stem + "-report")
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))

    def clips() -> Iterator[Clip]:
        return read_manifest(manifest, allow_outside)

    def measured(clips: Iterable[Clip], show: bool) -> Iterator[Row]:
        bar = tqdm(total=share, desc="measuring", unit="clip", disable=not show)
        with bar, closing(Store(stats, rank)) as store:
            yield from annotate(clips, recipe, manifest.parent, store, workers, bar)

    if next(clips(), None) is None:
        raise ManifestError(f"{manifest}: holds no clip")
    share = sum(1 for _ in share_of(clips(), rank, world))  # reads all rows: whatever is wrong comes out now
    if world > 1:
        join()
        for _ in measured(share_of(clips(), rank, world), show):
            pass
        wait_for_all()
        if rank:
            return None
    selection = select(measured(clips(), show and world == 1), recipe, out)
    write_report(report, recipe, selection, manifest.parent)
    return selection


def join() -> None:
    """Finds the other processes of a torchrun job, before anything takes long."""
    import torch.distributed as dist

    dist.init_process_group("gloo")


def wait_for_all() -> None:
    """Until every process is here: some have more to do than others."""
    import torch.distributed as dist

    dist.monitored_barrier(timeout=timedelta(days=30))
    dist.destroy_process_group()

"""The clips of a run: those of --data, or of the toy world."""

from pathlib import Path

from lite_sora.data.clip import Clip, captioning_command, read_manifest
from lite_sora.data.windows import VideoDataset
from lite_sora.processes import Processes
from lite_sora.toy.dataset import toy_manifest
from lite_sora.toy.sentences import corner_of
from lite_sora.training.flags import RunSettings, TrainingError


class Clips:
    def __init__(self, settings: RunSettings, processes: Processes):
        """Raises TrainingError for a manifest without training clips, or a batch that processes cannot share."""
        if settings.batch_size % processes.parts:
            raise TrainingError(
                f"--batch-size {settings.batch_size} does not divide by {processes.parts}, the processes"
            )
        self.settings, self.processes = settings, processes
        self.manifest = Path(settings.data) if settings.data else toy_manifest(settings, processes)
        clips = list(read_manifest(self.manifest, settings.allow_outside))
        if settings.data:
            settings.toy_corner = corner_of(clips)  # for config.json: what the model can be asked for
        self.training = [clip for clip in clips if clip.for_training]
        self.held_out = [clip for clip in clips if not clip.for_training]
        if not self.training:
            raise TrainingError(f'{self.manifest} contains no training clips ("split": "train", or no split)')

    @property
    def captioned(self) -> list[Clip]:
        """The clips to train on, for a stage that reads captions: those without one are skipped later, and listed.
        Raises TrainingError if all are without."""
        if not any(clip.has_caption for clip in self.training):
            raise TrainingError(
                f"{self.manifest} contains {len(self.training)} training clips and none has a caption; describe them "
                f"first: {captioning_command(self.manifest)}"
            )
        return self.training

    @property
    def cache(self) -> Path:
        """Where latents, codes and embeddings of captions are kept."""
        return Path(self.settings.cache_folder or self.manifest.parent / "cache")

    def videos(self, clips: list[Clip], **options) -> VideoDataset:
        """Windows of clips, of the size and rate that the settings ask for."""
        settings = self.settings
        size = settings.frames, settings.height, settings.width, settings.fps
        return VideoDataset(clips, self.manifest.parent, *size, **options)

    def preload(self, videos: VideoDataset) -> list[str]:
        """Decodes clips into memory that the processes of a machine share; why some are broken."""
        return videos.preload(int(self.settings.cache_gib * 2**30), self.processes.first, self.processes)

"""What a run is called: its stage, its data, and what differs from the usual settings."""

import pytest

from lite_sora.training.autoencoder import AutoencoderSettings
from lite_sora.training.captioner import CaptionerSettings
from lite_sora.training.denoiser import DenoiserSettings
from lite_sora.training.flags import parse
from lite_sora.training.prior import PriorSettings


@pytest.mark.parametrize(
    "kind, flags, told",
    [
        (DenoiserSettings, "", ""),
        (DenoiserSettings, "--steps 3 --device cpu --adherence-clips 0 --workers 2 --precision fp32 --out x", ""),
        (DenoiserSettings, "--toy-corner world --denoiser uvit --size M --patch 2 4 4", "-world-uvit-M-patch-2x4x4"),
        (DenoiserSettings, "--objective sit --rope false --lr 0.001", "-lr-0.001-rope-false-sit"),
        (DenoiserSettings, "--autoencoder runs/autoencoders/kl-toy", "-kl-toy"),
        (DenoiserSettings, "--overfit 1 --height 64 --width 64", "-height-64-width-64-overfit-1"),
        (DenoiserSettings, "--signals speed camera:4 --seed 2", "-seed-2-signals-speedxcamera-4"),
        (AutoencoderSettings, "--kind vq --quantizer fsq", "-fsq"),
        (CaptionerSettings, "--clips 512 --judged-clips 4", "-clips-512"),
        (PriorSettings, "--frames 9 --depth 2", "-depth-2"),
    ],
)
def test_a_run_is_named_after_what_differs(kind, flags, told):
    assert parse(kind, flags.split(), "test").told == told


def test_a_prefix_of_a_flag_is_no_flag(capsys):
    with pytest.raises(SystemExit):
        parse(DenoiserSettings, ["--step", "5"], "test")
    assert "--step" in capsys.readouterr().err

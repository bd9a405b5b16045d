"""lite-sora: a minimal, readable Sora-style text-to-video pipeline.

Captioned clips go in, an autoencoder compresses them, a transformer learns to remove noise from what is left,
and a sampler walks from noise back to a video that fits the prompt. Each step is one folder.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (a newer one is what pip asks for; this is for whoever runs from a clone)
    sys.exit("lite-sora needs Python 3.11 or newer")

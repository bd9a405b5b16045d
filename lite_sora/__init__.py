"""lite-sora: a minimal, readable Sora-style text-to-video pipeline.

Captioned clips go in, an autoencoder compresses them, a transformer learns to remove noise from what is left,
and a sampler walks from noise back to a video that fits the prompt. Each step is one folder.
"""

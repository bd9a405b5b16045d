"""lite-sora: a minimal, readable Sora-style text-to-video pipeline.

Captioned clips go in, an autoencoder squeezes them, a transformer learns to undo noise in what is left,
and a sampler walks from noise back to a video that fits the prompt. Each step is one folder.
"""

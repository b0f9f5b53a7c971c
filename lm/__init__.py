"""Language models for Tidal Gym: gated transformers, text data, pretraining, decoding and scoring.

Nothing heavy is imported here: ``import lm`` is free, torch and transformers come with the module that needs them.
"""

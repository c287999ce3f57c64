"""TESSERA encoders and their checkpoints: architecture, weights, input preparation and output quantisation.

Everything here follows ``docs/spec/model.md`` of the reference description; the floors above (``generate``, ``pretrain``) decide
how to batch and where results go.
"""
